"""The groups that sources name (records.RECORD: group): what they join, what a split parts.

A group has one name in all sources of a dataset, so rows of two sources may be of one group.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sftflow.prompts import key_of
from sftflow.records import read_rows

PLACE = ["source", "file", "row", "group"]


def place_group(row: Mapping[str, Any]) -> str:
    """Return the group of what was made from a row that has none: the row's place.

    The row itself is of that group, too, wherever rows are grouped. Cleaning changes what a row
    says and so its id, but never its place.
    """
    return f"{row['source']} {row['file']}:{row['row']}"


class Groups:
    """The number of each row's group, -1 for a row without one: 8 bytes a row, 100 a group."""

    def __init__(self) -> None:
        """Start without a row."""
        self._numbers: dict[int, int] = {}
        self._of_row = array("q")

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, group: str | None) -> None:
        """Take in the group of the next row."""
        known = self._numbers
        number = -1 if group is None else known.setdefault(key_of(group), len(known))
        self._of_row.append(number)

    def add_parents(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put rows without a group, of all that were added, into the group of what they made."""
        for number, row in enumerate(rows):
            if self._of_row[number] < 0:
                self._of_row[number] = self._numbers.get(key_of(place_group(row)), -1)

    def of_row(self) -> np.ndarray:
        """Return the numbers, (rows,) int64."""
        return np.array(self._of_row, dtype=np.int64)


def united(clusters: np.ndarray, prompt_of_row: np.ndarray, group_of_row: np.ndarray) -> np.ndarray:
    """Return clusters of prompts in which the prompts of one group are together as well.

    ``clusters`` (prompts,) has for each prompt the first one of its cluster, as what is returned;
    ``prompt_of_row`` and ``group_of_row`` (rows,) are numbers, -1 for a row without a group.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    prompts, grouped = len(clusters), group_of_row >= 0
    nodes = prompts + int(group_of_row.max(initial=-1)) + 1
    one = np.concatenate([np.arange(prompts), prompt_of_row[grouped]])
    other = np.concatenate([clusters, prompts + group_of_row[grouped]])
    links = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(nodes, nodes))
    _, piece = connected_components(links, directed=False)
    _, first, place = np.unique(piece[:prompts], return_index=True, return_inverse=True)
    return first[place]


def _mark(group: str) -> bytes:
    return hashlib.sha256(group.encode()).digest()[:8]


def groups_across(paths: Mapping[str, Path]) -> dict[str, Any]:
    """Return {n, groups}: how many groups stand on more than one side, of how many in all.

    Looks at nothing but the files that were written, one for each side.
    """
    sides: dict[bytes, int] = {}
    for number, path in enumerate(paths.values()):
        for row in read_rows(path, ["group"]):
            if row["group"] is not None:
                mark = _mark(row["group"])
                sides[mark] = sides.get(mark, 0) | 1 << number
    for number, path in enumerate(paths.values()) if sides else ():
        for row in read_rows(path, PLACE):
            if row["group"] is None and (mark := _mark(place_group(row))) in sides:
                sides[mark] |= 1 << number
    return {"n": sum(on.bit_count() > 1 for on in sides.values()), "groups": len(sides)}
