"""What became of tags and groups on the way from the rows as they were read to those trained on."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sftflow.prompts import key_of

LISTED = 20  # tags in the table
MOST_TAGS = 10_000  # different ones that are counted, as many as the portrait counts
LARGEST = 5  # groups in the table
SHOWN_CHARS = 80  # of a tag or of the name of a group


class TagCounts:
    """How many rows have a tag, and how many have each."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Read the column ``tags`` of files of records."""
        self.rows = self.tagged = 0
        self.of: Counter[str] = Counter()
        for tags in _columns(paths, "tags"):
            self.rows += len(tags)
            self.tagged += len(tags) - tags.null_count
            for found in pc.value_counts(pc.list_flatten(tags)).to_pylist():
                if found["values"] in self.of or len(self.of) < MOST_TAGS:
                    self.of[found["values"]] += found["counts"]


def _columns(paths: Iterable[Path], name: str) -> Iterator[pa.Array]:
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=[name]):
                yield batch.column(0)


def tag_facts(levels: Sequence[tuple[str, Sequence[Path]]]) -> dict[str, Any] | None:
    """Return the tags by level (name, files of records): read, cleaned, split, trained.

    {levels: {name: {rows, tagged, different}}, tags: [{tag, read, cleaned, split, trained}], the
    most frequent first, more: tags beyond them, gone: those of which nothing is trained on}; None
    if no row was read with a tag.
    """
    found = {name: TagCounts(paths) for name, paths in levels}
    order = [tag for tag, _ in sorted(found["read"].of.items(), key=lambda i: (-i[1], i[0]))]
    if not order:
        return None
    gone = [tag for tag in order if not found["trained"].of[tag]]
    return {
        "levels": {
            name: {"rows": of.rows, "tagged": of.tagged, "different": len(of.of)}
            for name, of in found.items()
        },
        "tags": [
            {"tag": _shown(tag), **{name: of.of[tag] for name, of in found.items()}}
            for tag in order[:LISTED]
        ],
        "more": len(order[LISTED:]),
        "gone": [_shown(tag) for tag in gone[:LISTED]],
        "gone_more": len(gone[LISTED:]),
    }


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def group_facts(cleaned: Path, train: Path) -> dict[str, Any] | None:
    """Return {rows, grouped, groups, largest: [{group, rows, trained}]} of the cleaned rows.

    ``trained`` says how many of a group's rows stand in the training part: all of them or none.
    None if no row has a group. In memory stay 8 bytes a row.
    """
    keys, rows = array("Q"), 0
    for names in _columns([cleaned], "group"):
        rows += len(names)
        keys.extend(key_of(name) for name in names.drop_null().to_pylist())
    if not keys:
        return None
    groups, sizes = np.unique(np.array(keys, dtype=np.uint64), return_counts=True)
    order = np.lexsort((groups, -sizes))[:LARGEST]
    wanted = set(groups[order].tolist())
    trained = _rows_of(wanted, train)
    return {
        "rows": rows,
        "grouped": len(keys),
        "groups": len(groups),
        "largest": [
            {"group": _shown(name), "rows": size, "trained": trained[name]}
            for name, size in sorted(_rows_of(wanted, cleaned).items(), key=lambda i: (-i[1], i[0]))
        ],
    }


def _rows_of(wanted: set[int], path: Path) -> Counter[str]:
    """Return how many rows of a file are in each group whose key is ``wanted``."""
    found: Counter[str] = Counter()
    for names in _columns([path], "group"):
        found.update(name for name in names.drop_null().to_pylist() if key_of(name) in wanted)
    return found
