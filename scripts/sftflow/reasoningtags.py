"""Thinking that stands in tags at the beginning of an answer, taken into its own field.

A template that renders thinking wants it in ``reasoning``, apart from the answer: only then can
it be left out of earlier turns, as Qwen3 and DeepSeek-R1 do, trained without loss, or dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sftflow.jsontext import Refused

USUAL = ("think", "thinking", "thought", "reasoning")  # tags of well-known models


def with_reasoning(messages: list[dict[str, Any]], tags: Sequence[str]) -> list[dict[str, Any]]:
    """Return messages with what ``tags`` hold in answers in ``reasoning``.

    An answer may lack the opening tag: some templates write it into the prompt. Raises Refused for
    thinking that is never closed, or that stands in a field of its own as well.
    """
    if not tags:
        return messages
    return [_parted(m, number, tags) for number, m in enumerate(messages, 1)]


def _parted(message: dict[str, Any], number: int, tags: Sequence[str]) -> dict[str, Any]:
    if message["role"] != "assistant":
        return message
    thought, answer = parted(message["content"], tags)
    if thought is None:
        opened = re.match(rf"\s*<({_any(tags)})>", answer)
        if opened:
            raise Refused("reasoning_not_closed", f"turn {number}: <{opened[1]}> is not closed")
        return message
    if message["reasoning"]:
        raise Refused("reasoning_twice", f"turn {number}: thinking in tags and in a field")
    return {**message, "content": answer, "reasoning": thought or None}


def parted(text: str, tags: Sequence[str] = USUAL) -> tuple[str | None, str]:
    """Return the thinking that a text begins with, None if there is none, and what follows it."""
    opened = re.match(rf"\s*<({_any(tags)})>", text)
    closed = re.search(rf"</({re.escape(opened[1]) if opened else _any(tags)})>", text)
    if not closed:
        return None, text
    thought = text[opened.end() if opened else 0 : closed.start()].strip()
    return thought, text[closed.end() :].lstrip()


def _any(tags: Sequence[str]) -> str:
    return "|".join(map(re.escape, tags))
