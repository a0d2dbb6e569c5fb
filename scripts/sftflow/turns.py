"""The shape of a conversation: who may speak when, and what a turn must hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sftflow.jsontext import Refused

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "function_call": "function_call",
    "tool_call": "function_call",
    "observation": "tool",
    "tool": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}


def canonical_role(name: Any, turn: int) -> str:
    """Return system, user, assistant, function_call or tool for a role or one of its aliases."""
    if not isinstance(name, str) or name.strip().lower() not in ROLES:
        known = ", ".join(sorted(ROLES))
        raise Refused("unknown_role", f"turn {turn}: role {name!r:.60} is unknown; known: {known}")
    return ROLES[name.strip().lower()]


def checked_turns(
    messages: list[dict[str, Any]], consecutive: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the messages that can be trained on and the notes on what was changed.

    ``consecutive`` says what two turns of one role in a row are: ``merge`` or ``quarantine``.
    A tail after the last assistant turn is trimmed. Raises Refused for any other fault.
    """
    spoken = [m for m in messages if m["role"] != "system" or m["content"].strip()]
    blank = ["blank_system_dropped"] if len(spoken) < len(messages) else []
    messages, notes = _joined(spoken, consecutive)
    notes = blank + notes
    if not any(m["role"] == "assistant" for m in messages):
        raise Refused("no_assistant", "no assistant turn to learn from")
    last = max(i for i, m in enumerate(messages) if m["role"] == "assistant")
    if last + 1 < len(messages):
        messages = messages[: last + 1]
        notes.append("tail_trimmed")
    _check_order(messages)
    for number, message in enumerate(messages, 1):
        _check_content(message, number)
    if all(m["weight"] == 0 for m in messages if m["role"] == "assistant"):
        raise Refused("no_weight", "every assistant turn has the loss weight 0")
    return messages, notes


def _joined(
    messages: Iterable[dict[str, Any]], consecutive: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Join turns of one role in a row, or refuse them; several tool results may follow."""
    joined: list[dict[str, Any]] = []
    notes = set()
    for number, message in enumerate(messages, 1):
        before = joined[-1] if joined else None
        if before is None or before["role"] != message["role"] or message["role"] == "tool":
            joined.append(dict(message))
        elif message["role"] == "assistant" and (
            message["tool_calls"] and (before["tool_calls"] or not message["content"])
        ):
            _join_calls(before, message)  # what is said, and the calls that go with it
        elif message["role"] == "system":
            raise Refused("system_twice", f"turn {number}: a second system turn")
        elif consecutive == "merge":
            _merge(before, message, number)
            notes.add("turns_merged")
        else:
            role = message["role"]
            raise Refused("consecutive_roles", f"turns {number - 1} and {number} are both {role!r}")
    return joined, sorted(notes)


def _join_calls(before: dict[str, Any], message: dict[str, Any]) -> None:
    calls = before["tool_calls"]
    before["tool_calls"] = (
        f"{calls[:-1]},{message['tool_calls'][1:]}" if calls else (message["tool_calls"])
    )
    before["content"] = "\n\n".join(t for t in (before["content"], message["content"]) if t)


def _merge(before: dict[str, Any], message: dict[str, Any], number: int) -> None:
    if before["weight"] != message["weight"]:
        raise Refused("consecutive_roles", f"turn {number}: can't be merged: other loss weight")
    if before["tool_calls"] or message["reasoning"]:
        raise Refused("consecutive_roles", f"turn {number}: can't be merged with tools or thinking")
    before["content"] = f"{before['content']}\n\n{message['content']}"
    before["tool_calls"] = message["tool_calls"]


def _check_order(messages: list[dict[str, Any]]) -> None:
    """Raise Refused unless it is system? (user assistant (tool+ assistant)*)+."""
    before, calls = "", False
    for number, message in enumerate(messages, 1):
        role = message["role"]
        if role == "system" and number > 1:
            raise Refused("system_not_first", f"turn {number}: system is allowed only first")
        if role == "assistant" and before in ("", "system"):
            raise Refused("assistant_first", "no user turn before the first assistant turn")
        if role == "tool" and not (calls and before in ("assistant", "tool")):
            raise Refused("tool_result_without_call", f"turn {number}: no tool call before it")
        if role == "user" and before == "assistant" and calls:
            raise Refused("tool_call_without_result", f"turn {number - 1}: no result follows")
        if role == "user" and before == "tool":
            raise Refused("tool_result_unanswered", f"turn {number}: no answer to the tool result")
        if role == "assistant":
            calls = bool(message["tool_calls"])
        before = role


def _check_content(message: dict[str, Any], number: int) -> None:
    role = message["role"]
    if message["content"].strip() or role == "tool" or message["tool_calls"]:
        return
    raise Refused(f"blank_{role}", f"turn {number}: the {role} text is blank")
