"""Which of many texts are nearly the same: candidates by MinHash, each checked exactly.

In memory stay about 300 bytes for each text (minhash.bands keys, buckets, places), whatever its
length; the sets of shingles lie in a temporary file. The answer rests on the texts and their
order alone.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sftflow.buckets import Buckets
from sftflow.minhash import SEED, band_keys, bands
from sftflow.shingles import jaccard, shingle_sets

BATCH_TEXTS, BATCH_CHARS = 256, 1 << 17  # arrays that stay in the processor's cache
COMPARED = 256  # candidates whose sets are read at most, those that share most bands first


class NearIndex:
    """Texts in their order, numbered from 0; then which resembles which."""

    def __init__(
        self, folder: Path, threshold: float, ngram: int, num_perm: int = 128, seed: int = SEED
    ) -> None:
        """Look for texts whose sets of ``ngram`` tokens have ``threshold`` (Jaccard) in common."""
        self.threshold, self.ngram, self.seed = threshold, ngram, seed
        self.shape = bands(threshold, num_perm)
        self.crowded = 0  # texts that were compared with a part of those in their buckets
        self._sets = tempfile.TemporaryFile(dir=folder, prefix=".shingles-")  # noqa: SIM115
        self._texts: list[str] = []
        self._contexts: list[int] = []
        self._chars = 0
        self._keys = array("I")  # (texts, bands)
        self._ends = array("Q")  # of each text's set in the file, in shingles

    def __enter__(self) -> NearIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._sets.close()

    def __len__(self) -> int:
        return len(self._ends) + len(self._texts)

    def add(self, text: str, context: int = 0) -> None:
        """Take in the next text; those of different ``context`` (64 bits) never resemble."""
        self._texts.append(text)
        self._contexts.append(context)
        self._chars += len(text)
        if len(self._texts) >= BATCH_TEXTS or self._chars >= BATCH_CHARS:
            self._flush()

    def _flush(self) -> None:
        flat, offsets = shingle_sets(self._texts, self.ngram, self._contexts)
        self._keys.frombytes(band_keys(flat, offsets, self.shape, self.seed).tobytes())
        before = self._ends[-1] if self._ends else 0
        self._ends.extend((offsets[1:] + before).tolist())
        self._sets.write(flat.tobytes())
        self._texts, self._contexts, self._chars = [], [], 0

    def leaders(self) -> Iterator[tuple[int, float]]:
        """Yield for each text the leader that it resembles most, and how much.

        A leader is a text that resembles no leader before it; its own leader is itself (1.0).
        """
        buckets = self._buckets()
        for text in range(len(self)):
            found = self._closest(text, buckets.before(text))
            if found is None:
                buckets.join(text)
            yield found or (text, 1.0)
        self.crowded = buckets.crowded

    def clusters(self) -> list[int]:
        """Return for each text the first of those that it resembles, directly or by others."""
        buckets, parent = self._buckets(), list(range(len(self)))
        for text in range(len(self)):
            mine, left = self._set(text), COMPARED
            for other in buckets.before(text):
                roots = _root(parent, other), _root(parent, text)
                if roots[0] != roots[1] and left:
                    left -= 1
                    if self._similarity(mine, other) >= self.threshold:
                        parent[max(roots)] = min(roots)
            buckets.join(text)
        self.crowded = buckets.crowded
        return [_root(parent, text) for text in parent]

    def resembling(self, known: int) -> Iterator[tuple[int, int, float]]:
        """Yield (text, other, similarity) for texts that resemble one of the first ``known``."""
        buckets = self._buckets()
        for text in range(known):
            buckets.join(text)
        for text in range(known, len(self)):
            found = self._closest(text, buckets.before(text))
            if found:
                yield text, *found
        self.crowded = buckets.crowded

    def _buckets(self) -> Buckets:
        if self._texts:
            self._flush()
        self._sets.flush()
        keys = np.frombuffer(self._keys, dtype=np.uint32).reshape(-1, self.shape[0])
        sizes = np.diff(np.frombuffer(self._ends, dtype=np.uint64), prepend=np.uint64(0))
        return Buckets(keys, absent=sizes == 0)

    def _closest(self, text: int, others: list[int]) -> tuple[int, float] | None:
        if not others:
            return None
        mine, best = self._set(text), (-self.threshold, len(self))
        for other in others[:COMPARED]:
            best = min(best, (-self._similarity(mine, other), other))
        return None if best[1] == len(self) else (best[1], -best[0])

    def _similarity(self, mine: np.ndarray, other: int) -> float:
        few, many = sorted((len(mine), self._size(other)))
        return jaccard(mine, self._set(other)) if few >= self.threshold * many else 0.0

    def _begin(self, text: int) -> int:
        return self._ends[text - 1] if text else 0

    def _size(self, text: int) -> int:
        return self._ends[text] - self._begin(text)

    def _set(self, text: int) -> np.ndarray:
        said = os.pread(self._sets.fileno(), 4 * self._size(text), 4 * self._begin(text))
        return np.frombuffer(said, dtype=np.uint32)


def _root(parent: list[int], text: int) -> int:
    while parent[text] != text:
        parent[text] = parent[parent[text]]  # halves the way for the next
        text = parent[text]
    return text
