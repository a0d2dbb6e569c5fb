"""A record's conversation in the shape that chat templates read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def template_messages(
    messages: Sequence[Mapping[str, Any]], with_reasoning: bool = True
) -> list[dict[str, Any]]:
    """Return a record's messages in the shape that chat templates read.

    As a server hands them on (vLLM 0.32): thinking under both of its names, calls with ids and
    results that name the call they answer. Mistral's templates write the ids and want nine letters
    or digits.
    """
    shaped: list[dict[str, Any]] = []
    called: list[tuple[str, str]] = []  # (id, name) of calls that have no result yet
    number = 0
    for message in messages:
        turn: dict[str, Any] = {"role": message["role"], "content": message["content"] or ""}
        if message.get("reasoning") and with_reasoning:
            turn["reasoning"] = turn["reasoning_content"] = message["reasoning"]
        if message.get("tool_calls"):
            functions = [c.get("function", c) for c in json.loads(message["tool_calls"])]
            called = [(f"call{number + n:05d}", f.get("name", "")) for n, f in enumerate(functions)]
            number += len(functions)
            turn["tool_calls"] = [
                {"id": id_, "type": "function", "function": function}
                for (id_, _), function in zip(called, functions, strict=True)
            ]
        if message["role"] == "tool" and called:
            turn["tool_call_id"], turn["name"] = called.pop(0)
        shaped.append(turn)
    return shaped


def template_tools(tools: str | None) -> list[dict[str, Any]] | None:
    """Return a record's tools as the chat API hands them to a template, or None.

    A server parses tools into its own fields and writes them out in its own order, so a
    template renders that order and not the data's; training must see the same.
    """
    schemas = json.loads(tools) if tools else None
    if not schemas:
        return None
    return [_tool(schema.get("function", schema)) for schema in schemas]


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    known = {key: function.get(key) for key in ("name", "description", "parameters")}
    if function.get("strict") is not None:
        known["strict"] = function["strict"]
    return {"type": "function", "function": known}
