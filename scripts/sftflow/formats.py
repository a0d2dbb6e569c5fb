"""From a row of any known format to a conversation: who said what, with which tools.

Formats: ``messages`` (OpenAI), ``sharegpt`` (conversations of from/value), ``alpaca``
(instruction, input, output), ``prompt_completion``, and ``columns`` (names from the config).
A row is told by its keys, each row for itself; what belongs to no format is refused with a
reason, never guessed at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sftflow.jsontext import Refused, parse
from sftflow.reasoningtags import with_reasoning
from sftflow.records import message
from sftflow.rowkeys import Taken, first_key
from sftflow.toolcalls import calls_text, tools_text
from sftflow.turns import canonical_role, checked_turns

# (question, answer) names seen in public data sets; the first pair that a row has is taken.
PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("input", "output"),
)
TURN_LISTS = {"messages": "messages", "conversations": "sharegpt", "conversation": "sharegpt"}
ANSWERS = ("output", "response")
INPUTS = ("input", "context")
SYSTEMS = ("system", "system_prompt")
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
WEIGHTS = ("loss_weight", "weight")


class Conversation(NamedTuple):
    """What a row says."""

    messages: list[dict[str, Any]]  # as records.MESSAGE
    tools: str | None
    format: str
    unused: list[str]  # keys of the row that nothing was taken from
    notes: list[str]  # codes of what was changed


def conversation(row: Mapping[str, Any], spec: Mapping[str, Any]) -> Conversation:
    """Return the conversation that ``row`` holds; raise Refused with a reason if none.

    ``spec`` has format, columns, system, consecutive and reasoning_tags of a source.
    """
    kind = "columns" if spec.get("columns") else spec["format"]
    if kind == "auto":
        kind = recognised(row)
    taken = Taken(row)
    turns = _FORMATS[kind](taken, spec)
    turns = with_system(turns, taken, spec)
    turns = with_reasoning(turns, spec.get("reasoning_tags") or ())
    tools = tools_text(taken.get("tools"))
    messages, notes = checked_turns(turns, spec["consecutive"])
    return Conversation(messages, tools, kind, taken.unused(), notes)


def recognised(row: Mapping[str, Any]) -> str:
    """Return the format that a row's keys say; raise Refused if they say none."""
    present = {key for key, value in row.items() if value is not None}
    for keys in (present, set(row)):  # a key with a null counts only if nothing else fits
        if {"chosen", "rejected"} <= keys:
            detail = "has 'chosen' and 'rejected', a preference pair; set format: preference"
            raise Refused("preference_pair", detail)
        for key, kind in TURN_LISTS.items():
            if key in keys:
                return kind
        if "instruction" in keys and keys.intersection(ANSWERS):
            return "alpaca"
        if any(question in keys and answer in keys for question, answer in PAIRS):
            return "prompt_completion"
    raise _unknown(row)


def _unknown(row: Mapping[str, Any]) -> Refused:
    names = [str(name)[:40] for name in row][:12]
    listed = f"keys [{', '.join(names)}]"
    if "instances" in row:
        hint = "seed tasks: write each of 'instances' as one row of instruction, input, output"
    elif "turns" in row:
        hint = "questions without answers"
    elif {"role", "content"} <= set(row) or {"from", "value"} <= set(row):
        hint = 'a turn alone: write each list of turns as one row {"messages": [...]}'
    elif lists := [name for name, value in row.items() if _rows_within(value)]:
        hint = f"if its list {str(lists[0])[:40]!r} holds the rows, name it by `json_path`"
    elif set(row) == {"text"}:
        hint = "plain text has no turns"
    elif any(name.lower() in ("instruction", "messages", "prompt", "question") for name in names):
        hint = "name the columns under `columns`"
    else:
        hint = "name the prompt and answer under `columns`"
    return Refused("unknown_format", f"{listed} belong to no known format; {hint}")


def _rows_within(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def text_of(value: Any, name: str) -> str:
    """Return the text of a field: a string, or the texts of a list of typed parts.

    Raises Refused for null, numbers, objects and parts that are no text.
    """
    if isinstance(value, str):
        return value
    if value is None:
        raise Refused("null_text", f"{name} is null")
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        return "".join(_part_text(part, name) for part in value)
    kinds = {bool: "true or false", int: "a number", float: "a number", dict: "an object"}
    what = kinds.get(type(value), "a list" if isinstance(value, list) else type(value).__name__)
    raise Refused("not_text", f"{name} is {what} ({str(value)[:40]}), expected text")


def _part_text(part: Mapping[str, Any], name: str) -> str:
    kind = part.get("type")
    if kind not in ("text", "input_text", "output_text"):
        raise Refused(
            "not_text", f"{name} has a part of type {str(kind)[:40]!r}: only text is used"
        )
    return text_of(part.get(first_key(part, "text", "value", "content")), name)


def _required(row: Taken, name: str, *aliases: str) -> Any:
    key = row.first(name, *aliases)
    if key is None:
        names = ", ".join(str(k)[:40] for k in list(row.row)[:12])
        raise Refused("missing_field", f"no {name!r} among the keys [{names}]; see `columns`")
    return row.get(key)


def optional_text(row: Taken, *names: str) -> str:
    """Return the text of the first of ``names`` that is there, "" if none is."""
    key = row.first(*names)
    value = row.get(key) if key else None
    return "" if value is None else text_of(value, f"'{key}'")


def _alpaca(row: Taken, _spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    asked = text_of(_required(row, "instruction"), "'instruction'")
    given = optional_text(row, *INPUTS)
    answer = text_of(_required(row, *ANSWERS), "the answer")
    return [*history(row), message("user", joined(asked, given)), message("assistant", answer)]


def joined(asked: str, given: str) -> str:
    """Return a question with what is given to it on the next line."""
    return "\n".join(text for text in (asked, given) if text.strip())


def history(row: Taken) -> list[dict[str, Any]]:
    """Return the earlier rounds of an Alpaca row as turns."""
    rounds = list_of(row.get("history"), "'history'")
    turns = []
    for number, pair in enumerate(rounds, 1):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Refused("invalid_history", f"'history': round {number} is no [question, answer]")
        turns.append(message("user", text_of(pair[0], f"'history' round {number}")))
        turns.append(message("assistant", text_of(pair[1], f"'history' round {number}")))
    return turns


def list_of(value: Any, name: str) -> list[Any]:
    """Return a list that may be written as JSON text (CSV has no other way)."""
    if isinstance(value, str) and value.strip():
        try:
            value = parse(value)
        except Refused as error:
            raise Refused("invalid_list", f"{name} is text but no JSON: {error.detail}") from None
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise Refused("invalid_list", f"{name} is no list of turns")
    return value


def _pair(row: Taken, _spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    full = [p for p in PAIRS if row.row.get(p[0]) is not None and row.row.get(p[1]) is not None]
    there = [p for p in PAIRS if p[0] in row.row and p[1] in row.row]
    question, answer = (full or there or [PAIRS[0]])[0]
    return _said(_required(row, question), question, "user") + _said(
        _required(row, answer), answer, "assistant"
    )


def _said(value: Any, name: str, role: str) -> list[dict[str, Any]]:
    """Return the turns of one side of a pair: a text, or a list of turns with roles."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "role" in value[0]:
        return turns_of(value)
    return [message(role, text_of(value, f"'{name}'"))]


def _columns(row: Taken, spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = {part: name for part, name in (spec.get("columns") or {}).items() if name}
    if "messages" in names:
        return turns_of(list_of(_required(row, names["messages"]), f"'{names['messages']}'"))
    for part in ("prompt", "completion"):
        if part not in names:
            raise Refused("missing_field", f"`columns` names no {part!r} and no 'messages'")
    turns = _said(_required(row, names["prompt"]), names["prompt"], "user")
    if names.get("input") and turns:
        turns[-1]["content"] = joined(turns[-1]["content"], optional_text(row, names["input"]))
    return turns + _said(_required(row, names["completion"]), names["completion"], "assistant")


def _listed(row: Taken, _spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    key = row.first(*TURN_LISTS)
    return turns_of(list_of(_required(row, key or "messages"), f"'{key}'"))


def turns_of(turns: list[Any]) -> list[dict[str, Any]]:
    """Return the messages of a list of turns; raise Refused if one can not be read."""
    if not turns:
        raise Refused("no_turns", "the list of turns is empty")
    return [turn_of(turn, number) for number, turn in enumerate(turns, 1)]


def turn_of(turn: Any, number: int) -> dict[str, Any]:
    """Return one message of {role, content} or {from, value}."""
    if not isinstance(turn, dict):
        raise Refused("invalid_turn", f"turn {number} is no object")
    role_key = first_key(turn, "role", "from")
    if role_key is None:
        raise Refused("missing_field", f"turn {number} has no 'role' (or 'from')")
    role = canonical_role(turn[role_key], number)
    calls = calls_text(turn.get("tool_calls") or turn.get("function_call"), number)
    content_key = first_key(turn, "content", "value", "text")
    if content_key is None and not calls:
        raise Refused("missing_field", f"turn {number} has no 'content' (or 'value')")
    content = turn.get(content_key) if content_key else None
    if role == "function_call":
        role, calls, content = "assistant", calls or _said_calls(content, number), ""
    if calls and role != "assistant":
        raise Refused("invalid_tool_call", f"turn {number}: {role!r} can't call tools")
    text = "" if content is None and calls else text_of(content, f"turn {number}: the content")
    thought = optional_text(Taken(turn), *THOUGHTS).strip()
    weight = _weight(turn, number)
    return message(role, text, tool_calls=calls, reasoning=thought or None, weight=weight)


def _said_calls(content: Any, number: int) -> str:
    calls = calls_text(content, number)
    if calls is None:
        raise Refused("invalid_tool_call", f"turn {number}: the function call is blank")
    return calls


def _weight(turn: Mapping[str, Any], number: int) -> float | None:
    key = first_key(turn, *WEIGHTS)
    value = turn[key] if key else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("invalid_weight", f"turn {number}: '{key}' is no number")
    if not 0 <= value <= 1000:  # nor NaN; math.isfinite can't take an integer of 400 digits
        shown = f"'{key}' is {str(value)[:40]}"
        raise Refused("invalid_weight", f"turn {number}: {shown}, expected 0 to 1000")
    return float(value)


def with_system(
    turns: list[dict[str, Any]], row: Taken, spec: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Put the system prompt first: the row's own turn, else its column, else the config's."""
    name = (spec.get("columns") or {}).get("system")
    column = optional_text(row, *([name] if name else SYSTEMS))
    if turns[0]["role"] == "system" and turns[0]["content"].strip():
        if column.strip() and column.strip() != turns[0]["content"].strip():
            raise Refused("system_twice", "a system turn and another system prompt in a column")
        return turns
    system = column if column.strip() else spec.get("system") or ""
    return [message("system", system), *turns] if system.strip() else turns


_FORMATS = {
    "messages": _listed,
    "sharegpt": _listed,
    "alpaca": _alpaca,
    "prompt_completion": _pair,
    "columns": _columns,
}
