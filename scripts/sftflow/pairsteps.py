"""Cleaning of preference pairs: the steps of other records, which see both answers.

On its way through the steps a pair is one conversation that ends in its two answers, the preferred
one first. So a step that changes texts changes both answers alike, one that looks for something
finds it in either, and two pairs are equal only if both of their answers are. What length and
conflicts mean for pairs stands here; steps that judge an answer by itself (refusals, a judge) are
refused by config_rules, since a poor answer is what ``rejected`` is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sftflow.cleaningstep import Record, Records, Step
from sftflow.conflicts import conflicts
from sftflow.prompts import answer_key, normalized
from sftflow.stage import StageError


def beside(record: Mapping[str, Any]) -> Record:
    """Return a pair as the steps see it: a conversation that ends in both answers."""
    return {**record, "messages": [*record["messages"], record["rejected"]], "rejected": None}


def apart(record: Mapping[str, Any]) -> Record:
    """Return what ``beside`` was made of, whatever the steps have done to its texts."""
    messages = record.get("said") or record["messages"]
    pair = {**record, "messages": messages[:-1], "rejected": messages[-1]}
    pair.pop("said", None)
    return pair


def different(records: Records, step: Step) -> Records:
    """Keep pairs whose answers still differ after the other steps; runs last, by itself."""
    for record in records:
        chosen, rejected = ({"messages": [answer]} for answer in record["messages"][-2:])
        if answer_key(chosen) == answer_key(rejected):
            step.reject(
                record, "same_answers", "chosen and rejected differ in case and white space only"
            )
        else:
            yield record


def length(
    records: Records,
    step: Step,
    min_prompt_chars: int = 10,
    min_answer_chars: int = 20,
    max_answer_chars: int = 8192,
) -> Records:
    """Keep pairs whose texts are neither too short nor too long (characters).

    As for other records, but of the two answers only the preferred one may be too short.
    """
    for record in records:
        messages = record["messages"]
        prompt = sum(len(m["content"]) for m in messages if m["role"] == "user")
        said = {
            side: len(m["content"]) + len(m["tool_calls"] or "")
            for side, m in zip(("chosen", "rejected"), messages[-2:], strict=True)
        }
        longest = max(said, key=said.__getitem__)
        if prompt < min_prompt_chars:
            detail = f"{prompt} characters, fewer than {min_prompt_chars}"
            step.reject(record, "short_prompt", detail)
        elif said["chosen"] < min_answer_chars:
            detail = f"{said['chosen']} characters, fewer than {min_answer_chars}"
            step.reject(record, "short_chosen", detail)
        elif said[longest] > max_answer_chars:
            detail = f"{said[longest]} characters, more than {max_answer_chars}"
            step.reject(record, f"long_{longest}", detail)
        else:
            yield record


def opposed(
    records: Records,
    step: Step,
    keep: str = "none",
    ignore_system: bool = False,
    near: float | None = None,
    ngram: int = 3,  # noqa: ARG001 (of near, and the config has it)
) -> Records:
    """Settle pairs of which one prefers the answer that the other rejects, behind one prompt.

    Other answers to a prompt, and an answer preferred to several, are what such data is made of.
    For ``keep`` see ``conflicts``, which here sees both answers, in an order of their own, as the
    prompt and the preferred one as the answer to it.
    """
    if near is not None:
        raise StageError("conflicts: near is not for preference pairs; leave it out")
    yield from map(_restored, conflicts(map(_as_question, records), step, keep, ignore_system))


def _as_question(record: Record) -> Record:
    *prompt, chosen, rejected = said = record["messages"]
    both = sorted(
        (chosen, rejected), key=lambda m: (normalized(m["content"]), m["tool_calls"] or "")
    )
    return {**record, "messages": [*prompt, *both, chosen], "said": said}


def _restored(record: Record) -> Record:
    said = record.pop("said")
    return {**record, "messages": said}


def told(detail: str) -> str:
    """Return why a pair goes, in the words of pairs."""
    rivals = "its prompt has 2 different answers"
    return detail.replace(rivals, "another row prefers the answer that this one rejects")


#: What a step means for pairs where that is something else; the last runs after all others.
STEPS = {"length": length, "conflicts": opposed, "different_answers": different}
