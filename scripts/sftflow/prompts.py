"""Keys that are equal when two texts are the same to a reader: for duplicates and for the split."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

Messages = Sequence[Mapping[str, Any]]


def normalized(text: str) -> str:
    """Return ``text`` without differences of width, case, composition and white space.

    NFKC makes full-width and half-width forms one (Ａ = A, ｶ = カ); casefold is lower case for
    every script; runs of white space, also the ideographic one, become one space.
    """
    return " ".join(folded(text).split())


def folded(text: str) -> str:
    """Return ``text`` without differences of width, case and composition."""
    if text.isascii():  # the same, faster
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def key_of(*parts: str) -> int:
    """Return 64 bits of a hash: among 5 million different texts two meet once in a million."""
    digest = hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def _said(messages: Messages) -> list[str]:
    return [
        f"{m['role']}\x1e{normalized(m['content'])}\x1e{m.get('tool_calls') or ''}"
        for m in messages
    ]


def conversation_key(record: Mapping[str, Any]) -> int:
    """Return the key of everything that is said, with the tools that were at hand."""
    return key_of(*_said(record["messages"]), record.get("tools") or "")


def context_key(record: Mapping[str, Any], ignore_system: bool = False) -> int:
    """Return the key of all that stands before the last answer."""
    before = record["messages"][:-1]
    if ignore_system and before[0]["role"] == "system":
        before = before[1:]
    return key_of(*_said(before), record.get("tools") or "")


def answer_key(record: Mapping[str, Any]) -> int:
    """Return the key of the last answer."""
    return key_of(*_said(record["messages"][-1:]))


def prompt_key(messages: Messages) -> int:
    """Return the key of the first user turn.

    Two conversations that begin alike share it, however they go on: the longer one holds the
    shorter one's answer, so they must not stand on two sides of a split.
    """
    return key_of(first_prompt(messages))


def first_prompt(messages: Messages) -> str:
    """Return the first user turn, normalized."""
    return normalized(next((m["content"] for m in messages if m["role"] == "user"), ""))
