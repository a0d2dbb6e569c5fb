"""Rows that must stand on one side of a split: of one group, or with nearly the same first turn."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sftflow.nearindex import NearIndex
from sftflow.places import Places
from sftflow.prompts import first_prompt, key_of
from sftflow.records import read_rows
from sftflow.rowgroups import PLACE, Groups, united

NGRAM = 3
COLUMNS = ["source", "file", "row", "messages"]
CHECK_SEED, CHECK_PERM = 2, 256  # other hash functions than the grouping has, and more of them
CHECKED_AT = 0.8  # where nobody asked for groups
MOST_EXAMPLES = 5


class PromptGroups:
    """For each row the key of its first user turn, and a key of the piece that this is in.

    A piece is what stays together, and a prompt is in one piece with all of its rows.
    """

    def __init__(self, records: Path, folder: Path, near: float | None) -> None:
        """Read ``records``; put prompts of a Jaccard similarity of ``near`` into one piece.

        So are prompts whose rows have one ``group``, and those that others connect. ``folder``
        has room for a temporary file.
        """
        keys, numbers, named = array("Q"), {}, Groups()
        with NearIndex(folder, near or 1.0, NGRAM) as index:
            for row in read_rows(records, ["messages", "group"]):
                prompt = first_prompt(row["messages"])
                keys.append(key_of(prompt))
                named.add(row["group"])
                number = numbers.setdefault(keys[-1], len(numbers))
                if near is not None and number == len(index):
                    index.add(prompt)
            clusters = np.array(range(len(numbers)) if near is None else index.clusters(), np.int64)
        self.prompts, self.named = len(numbers), len(named)
        self.keys = np.array(keys, dtype=np.uint64)
        prompt_of_row = np.fromiter((numbers[key] for key in keys), np.int64, len(keys))
        if self.named:
            named.add_parents(read_rows(records, PLACE))
            clusters = united(clusters, prompt_of_row, named.of_row())
        prompts = np.fromiter(numbers, np.uint64, len(numbers))
        self.of_row = prompts[clusters][prompt_of_row]

    def join(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Make one piece of the pieces of each pair of prompt keys."""
        for one, other in pairs:
            mine, theirs = (self.of_row[self.keys == np.uint64(key)][0] for key in (one, other))
            self.of_row[self.of_row == mine] = theirs

    def largest(self) -> int:
        """Return the rows of the largest piece."""
        return int(np.unique(self.of_row, return_counts=True)[1].max(initial=0))


def near_duplicates_across(
    train: Path, held_out: Mapping[str, Path], folder: Path, threshold: float
) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """Return how many held-out rows begin nearly as a training row does, and the pairs of keys.

    Looks at nothing but the files that were written, with hash functions of its own.
    """
    places, keys, sides, known = Places(), array("Q"), [], set()
    with NearIndex(folder, threshold, NGRAM, CHECK_PERM, CHECK_SEED) as index:

        def take_in(row: Mapping[str, Any], prompt: str) -> None:
            places.add(row)
            keys.append(key_of(prompt))
            index.add(prompt)

        for row in read_rows(train, COLUMNS):
            prompt = first_prompt(row["messages"])
            if key_of(prompt) not in known:  # equal ones would only fill the buckets
                known.add(key_of(prompt))
                take_in(row, prompt)
        trained = len(index)
        for side, path in held_out.items():
            for row in read_rows(path, COLUMNS):
                take_in(row, first_prompt(row["messages"]))
                sides.append(side)
        found = list(index.resembling(trained))
    examples = [
        {sides[held - trained]: places[held], "train": places[other], "similarity": round(alike, 3)}
        for held, other, alike in found[:MOST_EXAMPLES]
    ]
    said = {"n": len(found), "threshold": threshold, "ngram": NGRAM, "examples": examples}
    return said, [(keys[held], keys[other]) for held, other, _ in found]
