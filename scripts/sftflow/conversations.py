"""A record's conversation in the shape that chat templates read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def template_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a record's messages in the shape that chat templates read."""
    shaped = []
    for message in messages:
        turn: dict[str, Any] = {"role": message["role"], "content": message["content"] or ""}
        if message.get("reasoning"):
            turn["reasoning_content"] = message["reasoning"]
        if message.get("tool_calls"):
            turn["tool_calls"] = [
                {"type": "function", "function": call.get("function", call)}
                for call in json.loads(message["tool_calls"])
            ]
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
