"""Which rows of a raw source have changed since it was read: as many as fit in a sentence."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sftflow.labels import LABELS
from sftflow.records import read_rows

NAMED = 5  # rows that are named; the rest is counted

Place = tuple[str, int]  # file, 1-based row


class Collected:
    """What ingestion writes to a table, kept as places and contents."""

    def __init__(self) -> None:
        """Start empty."""
        self.rows: dict[Place, str] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row of RECORD or REJECTED."""
        self.rows[(row["file"], row["row"])] = content_of(row)


def content_of(row: Mapping[str, Any]) -> str:
    """Return what tells two rows apart: a record's id and labels, or a refused one's raw text."""
    if row.get("raw") is None:
        marks = [row.get(name) for name in LABELS]
        return f"{row['id']} {marks}" if any(marks) else str(row["id"])
    return hashlib.sha256(row["raw"].encode("utf-8", "surrogatepass")).hexdigest()[:16]


def rows_then(folder: Path) -> dict[Place, str]:
    """Return the rows of an ingested source, kept and refused ones."""
    collected = Collected()
    for row in read_rows(folder / "records.parquet", ["id", "file", "row", *LABELS]):
        collected.add(row)
    for row in read_rows(folder / "rejected.parquet", ["file", "row", "raw"]):
        collected.add(row)
    return collected.rows


def row_changes(then: Mapping[Place, str], now: Mapping[Place, str]) -> list[str]:
    """Return clauses about rows that are new, gone, changed or elsewhere; [] if all is as it was.

    A row that differs in place counts as changed only if its old content is gone and its new
    one is new; else rows were put in or taken out before it.
    """
    before, after = Counter(then.values()), Counter(now.values())
    new = _places(now, after - before)
    gone = _places(then, before - after)
    changed = [place for place in new if place in set(gone)]
    clauses = [
        _clause(changed, "changed"),
        _clause([place for place in new if place not in set(changed)], "new"),
        _clause([place for place in gone if place not in set(changed)], "gone"),
    ]
    said = [clause for clause in clauses if clause]
    return said or (["the rows are the same in another order"] if then != now else [])


def _places(rows: Mapping[Place, str], contents: Counter) -> list[Place]:
    """Return where these contents stand, the last of equal ones first counted as the other."""
    left = contents.copy()
    found = []
    for place in reversed(rows):
        if left[rows[place]] > 0:
            left[rows[place]] -= 1
            found.append(place)
    return found[::-1]


def _clause(places: Iterable[Place], what: str) -> str:
    places = list(places)
    if not places:
        return ""
    named = ", ".join(f"{file}:{row}" for file, row in places[:NAMED])
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return f"{len(places)} row{'s' if len(places) > 1 else ''} {what} ({named}{more})"
