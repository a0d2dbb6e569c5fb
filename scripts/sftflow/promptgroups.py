"""Rows whose first user turns are the same or nearly so: they must stand on one side of a split."""

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

NGRAM = 3
COLUMNS = ["source", "file", "row", "messages"]
CHECK_SEED, CHECK_PERM = 2, 256  # other hash functions than the grouping has, and more of them
CHECKED_AT = 0.8  # where nobody asked for groups
MOST_EXAMPLES = 5


class PromptGroups:
    """For each row the key of its first user turn, and a key of the group that this is in."""

    def __init__(self, records: Path, folder: Path, near: float | None) -> None:
        """Read ``records``; put prompts of a Jaccard similarity of ``near`` into one group.

        So are those that others connect. ``folder`` has room for a temporary file.
        """
        keys, numbers = array("Q"), {}
        with NearIndex(folder, near or 1.0, NGRAM) as index:
            for row in read_rows(records, ["messages"]):
                prompt = first_prompt(row["messages"])
                keys.append(key_of(prompt))
                number = numbers.setdefault(keys[-1], len(numbers))
                if near is not None and number == len(index):
                    index.add(prompt)
            clusters = range(len(numbers)) if near is None else index.clusters()
        prompts = np.fromiter(numbers, np.uint64, len(numbers))
        self.prompts = len(numbers)
        self.keys = np.array(keys, dtype=np.uint64)
        groups = dict(zip(numbers, prompts[list(clusters)].tolist(), strict=True))
        self.of_row = np.fromiter((groups[key] for key in keys), np.uint64, len(keys))

    def join(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Make one group of the groups of each pair of prompt keys."""
        for one, other in pairs:
            mine, theirs = (self.of_row[self.keys == np.uint64(key)][0] for key in (one, other))
            self.of_row[self.of_row == mine] = theirs

    def largest(self) -> int:
        """Return the rows of the largest group."""
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
