"""Rows that went: by step and reason with examples, and beside the rows that they resemble.

Reads rejected.parquet of the sources and of the dataset. A duplicate is shown beside the row
that its detail names ("... the same as SOURCE FILE:ROW"), conflicting answers beside each other.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sftflow.prompts import context_key
from sftflow.records import read_rows
from sftflow.rowsamples import place, shortened, shown_message

EXAMPLES = 3  # rows shown for each reason
SHOWN_CHARS = 1200
PAIRS = 6  # duplicates shown beside their twin, for each step
PROMPTS = 6  # prompts shown with their conflicting answers
ANSWERS = 4  # answers shown to each of them
OPEN_CHARS = 300  # of a message beside another; the rest is folded

Place = tuple[str, str, int]  # source, file, row


class Rejections:
    """Counts of all rejected rows, and those that the page shows."""

    def __init__(self, sources: Iterable[str], conflicts: Mapping[str, Any]) -> None:
        """Know the sources' names and the options of the conflicts step ({} without one)."""
        names = "|".join(map(re.escape, sorted(sources, key=len, reverse=True)))
        self._named = re.compile(rf"(?:^|\s)({names}) (.*?):(\d+)\b")
        self._ignore_system = conflicts.get("ignore_system", False)
        self._one_stays = conflicts.get("keep") in ("first", "majority")
        self.by_source: Counter[str] = Counter()
        self._by_step: Counter[str] = Counter()
        self._groups: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._pairs: dict[str, list[dict[str, Any]]] = {}
        self._prompts: dict[int, dict[str, Any]] = {}
        self.wanted: dict[Place, list[dict[str, Any]]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in one row of rejected.parquet."""
        step, reason = row["step"] or "", row["reason"]
        group = self._groups.setdefault(
            (row["stage"], step, reason),
            {"step": step or row["stage"], "reason": reason, "rows": 0},
        )
        group["rows"] += 1
        examples = group.setdefault("examples", [])
        if len(examples) < EXAMPLES:
            shown = {"place": place(row), "detail": row["detail"]}
            examples.append({**shown, "raw": shortened(row["raw"] or "", SHOWN_CHARS)})
        if not step:
            return
        self.by_source[row["source"]] += 1
        self._by_step[step] += 1
        if named := self._named.search(row["detail"] or ""):
            self._resembles(row, (named[1], named[2], int(named[3])))
        elif "conflict" in reason:
            self._contradicts(row)

    def _resembles(self, row: Mapping[str, Any], twin: Place) -> None:
        """Keep a row with the place of the one that it is a duplicate of."""
        pairs = self._pairs.setdefault(row["step"], [])
        said = said_of(row)
        if said is not None and len(pairs) < PAIRS:
            pair = {"detail": row["detail"], "gone": shown(row, said), "kept": None}
            pairs.append(pair)
            self.wanted.setdefault(twin, []).append(pair)

    def _contradicts(self, row: Mapping[str, Any]) -> None:
        """Keep a row with others that answer the same prompt."""
        said = said_of(row)
        if said is None:
            return
        key = context_key(said, self._ignore_system)
        if key not in self._prompts and len(self._prompts) < PROMPTS:
            before = [shown_message(m, OPEN_CHARS) for m in said["messages"][:-1]]
            self._prompts[key] = {"prompt": before, "answers": [], "more": 0}
        if key in self._prompts:
            self._answer(key, row, said, kept=False)

    def _answer(
        self, key: int, row: Mapping[str, Any], said: Mapping[str, Any], *, kept: bool
    ) -> None:
        found = self._prompts[key]
        if len(found["answers"]) < ANSWERS:
            answer = shown_message(said["messages"][-1], OPEN_CHARS)
            found["answers"].append({"place": place(row), "message": answer, "kept": kept})
        else:
            found["more"] += 1

    def meet(self, record: Mapping[str, Any]) -> None:
        """Look at a row that stayed: it may be the twin of one that is shown, or its rival."""
        here = (record["source"], record["file"] or "", record["row"])
        for pair in self.wanted.get(here, ()):
            pair["kept"] = shown(record, record)
        if self._prompts and self._one_stays:
            key = context_key(record, self._ignore_system)
            if key in self._prompts:
                self._answer(key, record, record, kept=True)

    def meet_rejected(self, row: Mapping[str, Any]) -> None:
        """Look at a row that went in another step: it may be a twin too."""
        pairs = self.wanted.get((row["source"], row["file"] or "", row["row"]), ())
        said = said_of(row) if pairs and row["step"] else None
        for pair in pairs:
            if pair["kept"] is None and said is not None:
                pair["kept"] = {**shown(row, said), "left_in": row["step"]}

    def missing(self) -> bool:
        """Say whether a row that stayed could complete what is shown."""
        return bool(self.wanted) or bool(self._prompts and self._one_stays)

    def groups(self) -> list[dict[str, Any]]:
        """Return the reasons with their number and first rows, the most frequent first."""
        order = sorted(self._groups, key=lambda key: (-self._groups[key]["rows"], key))
        return [self._groups[key] for key in order]

    def pairs(self) -> list[dict[str, Any]]:
        """Return {step, rows, pairs}: how many rows a step removed, some beside their twins."""
        return [
            {"step": step, "rows": self._by_step[step], "pairs": pairs}
            for step, pairs in self._pairs.items()
            if pairs
        ]

    def conflicts(self) -> list[dict[str, Any]]:
        """Return prompts with different answers."""
        return [found for found in self._prompts.values() if len(found["answers"]) > 1]


def said_of(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return messages and tools of a rejected row; None if it was never a conversation."""
    try:
        said = json.loads(row["raw"] or "")
    except ValueError:
        return None
    if not isinstance(said, dict) or not said.get("messages"):
        return None
    fields = ("content", "reasoning", "tool_calls")
    messages = [{**dict.fromkeys(fields), **m} for m in said["messages"]]
    return {"messages": messages, "tools": said.get("tools")}


def shown(row: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the place of a row and its messages as the page shows them."""
    messages = [shown_message(m, OPEN_CHARS) for m in said["messages"]]
    return {"place": place(row), "messages": messages, "left_in": None}


def read_rejections(
    paths: Iterable[Path], records: Path, sources: Iterable[str], conflicts: Mapping[str, Any]
) -> Rejections:
    """Return what rejected.parquet files hold, met with the rows that stayed."""
    paths = list(paths)
    found = Rejections(sources, conflicts)
    for row in _rows(paths):
        found.add(row)
    if found.missing():
        for record in read_rows(records):
            found.meet(record)
    if any(pair["kept"] is None for pairs in found.wanted.values() for pair in pairs):
        for row in _rows(paths):
            found.meet_rejected(row)
    return found


def _rows(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        yield from read_rows(path)
