"""Buckets of texts that share a band key: who was there before."""

from __future__ import annotations

import numpy as np

NO_PLACE = 2**32 - 1
NOWHERE = np.uint32(NO_PLACE)
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
        # Looked at one by one, for which a memoryview is much faster than its array.
        self._members = memoryview(np.zeros(room, dtype=np.int32))  # from each bucket's begin on
        self._joined = memoryview(np.zeros(room, dtype=np.int32))  # at each begin: how many
        self.crowded = 0  # texts that met a bucket with more than FULL

    def _of(self, text: int) -> list[int]:
        if not self._met[text]:
            return []
        return [start for start in self._starts[text].tolist() if start != NO_PLACE]

    def join(self, text: int) -> None:
        """Put ``text`` into its buckets."""
        members, joined = self._members, self._joined
        for start in self._of(text):
            members[start + joined[start]] = text
            joined[start] += 1

    def before(self, text: int) -> list[int]:
        """Return who joined the buckets of ``text``, those first that share most, then oldest."""
        shared: dict[int, int] = {}
        crowded = False
        for start in self._of(text):
            if number := self._joined[start]:
                crowded |= number > FULL
                for other in self._members[start : start + min(number, FULL)]:
                    shared[other] = shared.get(other, 0) + 1
        self.crowded += crowded
        return sorted(shared, key=lambda other: (-shared[other], other))
