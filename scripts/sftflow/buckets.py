"""Buckets of texts that share a band key: who was there before."""

from __future__ import annotations

from collections import Counter

import numpy as np

NOWHERE = np.uint32(2**32 - 1)
FULL = 256  # texts of a bucket with which another is compared: the first that joined


class Buckets:
    """For each band the texts with equal keys; 4 bytes for each text and band, 8 where it met."""

    def __init__(self, keys: np.ndarray, absent: np.ndarray) -> None:
        """Take the keys, (texts, bands) uint32; ``absent`` texts, (texts,) bool, are nowhere."""
        # Where in _members each text's bucket begins; a text that is alone in a band has none.
        self._starts = np.full(keys.shape, NOWHERE, dtype=np.uint32)
        room = 0
        for band in range(keys.shape[1]):
            order = np.argsort(keys[:, band], kind="stable")
            order = order[~absent[order]]
            runs = np.flatnonzero(np.diff(keys[order, band], prepend=0, append=0) != 0)
            runs = np.union1d(runs, [0, len(order)])
            sizes = np.diff(runs)
            shared = np.repeat(sizes > 1, sizes)
            sizes = sizes[sizes > 1]
            begins = room + np.cumsum(sizes) - sizes
            self._starts[order[shared], band] = np.repeat(begins, sizes)
            room += int(sizes.sum())
        self._met = (self._starts != NOWHERE).any(axis=1)
        self._members = np.zeros(room, dtype=np.int32)  # at each bucket's begin: who joined
        self._joined = np.zeros(room, dtype=np.int32)  # at each bucket's begin: how many
        self.crowded = 0  # texts that met a bucket with more than FULL

    def join(self, text: int) -> None:
        """Put ``text`` into its buckets."""
        if not self._met[text]:
            return
        starts = self._starts[text]
        starts = starts[starts != NOWHERE]
        self._members[starts + self._joined[starts]] = text
        self._joined[starts] += 1

    def before(self, text: int) -> list[int]:
        """Return who joined the buckets of ``text``, those first that share most, then oldest."""
        if not self._met[text]:
            return []
        starts = self._starts[text]
        starts = starts[starts != NOWHERE]
        numbers = self._joined[starts]
        if not numbers.any():
            return []
        self.crowded += bool((numbers > FULL).any())
        shared: Counter[int] = Counter()
        for start, number in zip(starts.tolist(), numbers.tolist(), strict=True):
            if number == 1:
                shared[int(self._members[start])] += 1
            elif number:
                shared.update(self._members[start : start + min(number, FULL)].tolist())
        return sorted(shared, key=lambda other: (-shared[other], other))
