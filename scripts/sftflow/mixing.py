"""How often each row goes into the training data, so that the sources stand in the wanted mix."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from sftflow.stage import StageError

WAYS = ("times", "rows", "ratio")


def wanted_rows(mix: Mapping[str, Mapping[str, Any]], available: Mapping[str, int]) -> dict:
    """Return how many rows of each source the mix asks for, by the rows that there are.

    A source that ``mix`` does not name goes in whole. ``ratio`` is per row of all sources without a
    ratio, after their own ``times`` or ``rows``. Raises StageError for a mix that can't be made.
    """
    wanted: dict[str, int] = {}
    for source, rows in available.items():
        entry = mix.get(source, {"times": 1.0})
        if source in mix and not rows:
            raise StageError(
                f"mix.{source}: no row of this source is left to train on; see what cleaning and "
                "decontamination removed, or take the source out of mix"
            )
        if entry.get("rows") is not None:
            wanted[source] = entry["rows"]
        elif entry.get("ratio") is None:
            wanted[source] = round(entry["times"] * rows)
    base = sum(wanted.values())
    for source in available:
        if source not in wanted:
            wanted[source] = round(mix[source]["ratio"] * base)
    for source, entry in mix.items():
        _check(source, entry, wanted[source], available[source], base)
    return {source: wanted[source] for source in available}


def _check(source: str, entry: Mapping[str, Any], wanted: int, available: int, base: int) -> None:
    """Raise StageError if a source would vanish or be repeated more often than allowed."""
    way = next(way for way in WAYS if entry.get(way) is not None)
    asked = f"mix.{source}: {way} {entry[way]:g}"
    if not wanted:
        of = base if way == "ratio" else available
        raise StageError(f"{asked} of {of} rows is no row; ask for more or leave the source out")
    if way != "times" and wanted > entry["max_times"] * available:
        raise StageError(
            f"{asked} means {wanted} rows, {wanted / available:.1f} times the {available} there "
            f"are; ask for fewer, add data, or raise max_times ({entry['max_times']:g})"
        )


def place(seed: int, row_id: str) -> int:
    """Return where a row stands in the order in which rows are taken: 64 bits of a hash."""
    digest = hashlib.blake2b(f"{seed}:{row_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def copies(places: np.ndarray, wanted: int) -> np.ndarray:
    """Return how often each row of a source is taken so that ``wanted`` rows come together.

    Each goes in as often as every other, and those that come first in the order of ``places`` once
    more: a row that is added or removed elsewhere moves few others.
    """
    whole, rest = divmod(wanted, len(places)) if len(places) else (0, 0)
    taken = np.full(len(places), whole, dtype=np.int64)
    taken[np.argsort(places, kind="stable")[:rest]] += 1
    return taken
