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
    """Return a record's tools as a list of JSON schemas, or None."""
    schemas = json.loads(tools) if tools else None
    if not schemas:
        return None
    return [s if "function" in s else {"type": "function", "function": s} for s in schemas]
