"""From a row with two answers to one prompt, of which one is preferred, to a record.

Forms: ``chosen`` and ``rejected`` as texts, as single turns or as lists of turns, behind a prompt
that is a text (``prompt``, ``question``, ``query``, or ``instruction`` with ``input`` and
``history``) or a list of turns (``prompt``, ``conversations``, ``messages``); or both as whole
conversations that begin alike. Keys of turns and roles are those of every other format.

A record's messages are the prompt and the preferred answer, as if it were a row to imitate; the
other answer stands in its own field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sftflow.formats import (
    history,
    joined,
    list_of,
    optional_text,
    text_of,
    turn_of,
    turns_of,
    with_system,
)
from sftflow.jsontext import Refused
from sftflow.reasoningtags import with_reasoning
from sftflow.records import message
from sftflow.rowkeys import Taken
from sftflow.toolcalls import tools_text
from sftflow.turns import checked_turns

FORMAT = "preference"  # as sources.*.format has it
SIDES = ("chosen", "rejected")
PROMPTS = ("prompt", "conversations", "messages", "conversation", "question", "query")

Turns = list[dict[str, Any]]


class Preference(NamedTuple):
    """What a row says."""

    messages: Turns  # the prompt and the preferred answer, as records.MESSAGE
    rejected: dict[str, Any]  # the other answer
    tools: str | None
    unused: list[str]  # keys of the row that nothing was taken from
    notes: list[str]  # codes of what was changed


def preference(row: Mapping[str, Any], spec: Mapping[str, Any]) -> Preference:
    """Return the pair that ``row`` holds; raise Refused with a reason if it holds none.

    ``spec`` has system, consecutive and reasoning_tags of a source.
    """
    taken = Taken(row)
    said = {side: _answer(taken, side) for side in SIDES}
    prompt = _prompt(taken)
    whole = {side for side in SIDES if said[side][0]["role"] != "assistant"}
    if len(whole) == 1:
        raise Refused("invalid_pair", f"{whole.pop()!r} is a whole conversation, the other is not")
    if not whole and not prompt:
        raise Refused("no_prompt", "chosen and rejected have no prompt before them")
    found, notes = {}, set()
    for side in SIDES:
        turns = said[side] if whole else [*prompt, *said[side]]
        found[side], changed = _checked(turns, taken, spec, side)
        notes.update(changed)
    shared, chosen, rejected = _parted(found["chosen"], found["rejected"])
    if whole and prompt:
        _check_prompt(prompt, shared)
    tools = tools_text(taken.get("tools"))
    return Preference([*shared, chosen], rejected, tools, taken.unused(), sorted(notes))


def _answer(row: Taken, side: str) -> Turns:
    """Return the turns of ``chosen`` or ``rejected``; a text or a single turn is one."""
    value = row.get(side)
    if side not in row.row:
        names = ", ".join(str(key)[:40] for key in list(row.row)[:12])
        raise Refused("missing_field", f"no {side!r} among the keys [{names}]")
    if isinstance(value, list) and value and _is_part(value[0]):
        return [message("assistant", text_of(value, f"'{side}'"))]
    if isinstance(value, list):
        return turns_of(value)
    if isinstance(value, dict):
        return [turn_of(value, 1)]
    return [message("assistant", text_of(value, f"'{side}'"))]


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and "type" in value and not {"role", "from"} & set(value)


def _prompt(row: Taken) -> Turns:
    """Return the turns before the answers, [] if the row has none of their own."""
    if row.row.get("instruction") is not None:
        asked = text_of(row.get("instruction"), "'instruction'")
        given = optional_text(row, "input", "context")
        return [*history(row), message("user", joined(asked, given))]
    key = next((key for key in PROMPTS if row.row.get(key) is not None), None)
    if key is None:
        return []
    value = row.get(key)
    if isinstance(value, str) and key not in ("conversations", "messages", "conversation"):
        return [message("user", value)]
    return turns_of(list_of(value, f"'{key}'"))


def _checked(
    turns: Turns, row: Taken, spec: Mapping[str, Any], side: str
) -> tuple[Turns, list[str]]:
    turns = with_reasoning(with_system(turns, row, spec), spec.get("reasoning_tags") or ())
    try:
        return checked_turns(turns, spec["consecutive"])
    except Refused as refused:
        raise Refused(refused.reason, f"{side}: {refused.detail}") from None


def _parted(chosen: Turns, rejected: Turns) -> tuple[Turns, dict[str, Any], dict[str, Any]]:
    """Return what both conversations begin with, and the answer of each that follows it."""
    both = zip(chosen, rejected, strict=False)
    shared = next((n for n, (one, other) in enumerate(both) if one != other), None)
    if shared is None and len(chosen) == len(rejected):
        raise Refused("same_answers", "chosen and rejected say the same")
    if not shared:
        raise Refused("no_shared_prompt", "chosen and rejected don't begin with the same turns")
    ends = chosen[shared:], rejected[shared:]
    if {end[0]["role"] for end in ends} != {"assistant"}:
        raise Refused("no_shared_prompt", f"they part at turn {shared + 1}, which is no answer")
    if any(len(end) > 1 for end in ends):
        raise Refused(
            "several_turns",
            f"after the shared prompt there are {len(ends[0])} and {len(ends[1])} turns; only the "
            "last answer may differ",
        )
    (one,), (other,) = ends
    return chosen[:shared], {**one, "weight": None}, {**other, "weight": None}


def _check_prompt(prompt: Turns, shared: Turns) -> None:
    """Raise Refused if a row's own prompt is not what its two conversations share."""
    said = [turn["content"].strip() for turn in shared]
    if any(turn["content"].strip() not in said for turn in prompt):
        raise Refused("prompt_mismatch", "the prompt is not in what chosen and rejected share")
