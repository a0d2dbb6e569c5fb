"""Forty rows to look at: a fair draw, and those at the ends, where faults gather."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

DRAWN, LONGEST, SHORTEST = 24, 8, 8
OPEN_CHARS = 700  # of a message; the rest is folded
MOST_CHARS = 6000  # of a message in all
LABEL_CHARS = 80  # of a row's tags and of its group


class Samples:
    """The rows to show of a stream; holds no others."""

    def __init__(self) -> None:
        """Start without a row."""
        self._drawn = _Smallest(DRAWN)
        self._longest, self._shortest = _Smallest(LONGEST), _Smallest(SHORTEST)

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in one record."""
        chars = sum(
            len(m["content"] or "") + len(m["tool_calls"] or "") for m in record["messages"]
        )
        # Ids are hashes of what a row says, so the smallest are a fair draw and always the same.
        self._drawn.add((record["id"],), record)
        self._longest.add((-chars, record["id"]), record)
        self._shortest.add((chars, record["id"]), record)

    def groups(self) -> list[dict[str, Any]]:
        """Return {title, rows}; no row stands twice."""
        shown: set[str] = set()
        groups = []
        for title, chosen in (
            ("Drawn by lot", self._drawn),
            ("The longest", self._longest),
            ("The shortest", self._shortest),
        ):
            rows = [r for r in chosen.rows() if r["id"] not in shown]
            shown.update(row["id"] for row in rows)
            groups.append({"title": title, "rows": [shown_row(row) for row in rows]})
        return [group for group in groups if group["rows"]]


class _Smallest:
    """The rows with the smallest keys of a stream."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._heap: list[_Turned] = []

    def add(self, key: tuple, row: Mapping[str, Any]) -> None:
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, _Turned(key, row))
        elif key < self._heap[0].key:
            heapq.heapreplace(self._heap, _Turned(key, row))

    def rows(self) -> list[Mapping[str, Any]]:
        return [one.row for one in sorted(self._heap, key=lambda one: one.key)]


class _Turned:
    """An entry whose largest key comes first in a heap."""

    def __init__(self, key: tuple, row: Mapping[str, Any]) -> None:
        self.key, self.row = key, row

    def __lt__(self, other: _Turned) -> bool:
        return self.key > other.key


def shown_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as the page shows it: place, size, labels, messages in two parts."""
    messages = [shown_message(m) for m in record["messages"]]
    return {
        "place": place(record),
        "chars": sum(len(m["content"] or "") for m in record["messages"]),
        "messages": messages,
        "tools": shortened(record["tools"] or "", OPEN_CHARS),
        "tags": shortened(", ".join(record.get("tags") or ()), LABEL_CHARS),
        "group": shortened(record.get("group") or "", LABEL_CHARS),
    }


def shown_message(message: Mapping[str, Any], open_chars: int = OPEN_CHARS) -> dict[str, Any]:
    """Return role, reasoning, calls, and the content in an open and a folded part."""
    content = message["content"] or ""
    # A cut in the middle of a word looks like broken data.
    cut = content.rfind(" ", open_chars - 60, open_chars)
    cut = cut if cut > 0 else open_chars
    long = len(content) > open_chars * 5 // 4
    return {
        "role": message["role"],
        "open": content[:cut] if long else content,
        "folded": shortened(content[cut:], MOST_CHARS) if long else "",
        "more": len(content) - cut if long else 0,
        "reasoning": shortened(message["reasoning"] or "", MOST_CHARS),
        "tool_calls": shortened(message["tool_calls"] or "", MOST_CHARS),
    }


def place(row: Mapping[str, Any]) -> str:
    """Return where a row came from: source, file and number of the row."""
    return (
        f"{row['source']} {row['file']}:{row['row']}"
        if row["file"]
        else (f"{row['source']}:{row['row']}")
    )


def shortened(text: str, most: int) -> str:
    """Return ``text``, cut with a word about it if it is long."""
    return text if len(text) <= most else f"{text[:most]} … [{len(text) - most:,} characters more]"
