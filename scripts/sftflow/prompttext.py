"""A prompt as a person, or a judge, reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def prompt_text(row: Mapping[str, Any]) -> str:
    """Return the prompt of a generated row: the user's words, or all turns with their roles."""
    turns = [(turn["role"], turn_text(turn)) for turn in row["messages"]]
    if len(turns) == 1:
        return turns[0][1]
    return "\n".join(f"{role}: {text}" for role, text in turns)


def turn_text(turn: Mapping[str, Any]) -> str:
    """Return what a turn says, tool calls as JSON."""
    said = [turn["content"]] if turn.get("content") else []
    if turn.get("tool_calls"):
        said.append(json.dumps(turn["tool_calls"], ensure_ascii=False))
    return "\n".join(map(str, said))
