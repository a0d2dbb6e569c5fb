"""Which of many texts have nearly the same vector: each is compared with all that stay before it.

The search is exact and its cost grows with the square of the number of texts. The vectors lie in
a temporary file, as float16; in memory stay about 200 bytes for each text, whatever its length.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sftflow.prompts import key_of, normalized
from sftflow.stage import Progress

if TYPE_CHECKING:
    import torch

BATCH_TEXTS, BATCH_CHARS = 2048, 1 << 22  # embedded at a time: texts of like length share a batch
BLOCK, LEADERS = 1024, 8192  # vectors compared at a time: 32 MiB of similarities
ABSENT = -1
# float16 gives the cosine of some hundred dimensions to 0.00002. Only equal texts reach 1.
MOST = 0.9999


class VectorIndex:
    """Texts in their order, numbered from 0; then which resembles which."""

    def __init__(
        self,
        folder: Path,
        embed: Callable[[Sequence[str]], list[np.ndarray]],
        threshold: float,
        device: str = "cpu",
    ) -> None:
        """Look for texts whose vectors have a cosine of ``threshold``.

        ``embed`` gives each text its vectors of length 1 (pieces, dimensions).
        """
        self._embed, self.threshold, self._device = embed, threshold, device
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".vectors-")  # noqa: SIM115
        self._dimensions = self._written = 0  # of the file: columns, rows
        self._numbers: dict[int, int] = {}  # key of a text -> its number among different texts
        self._texts = array("q")  # of each record: the number of its text
        self._first = array("Q")  # of each text: the first record that has it
        self._begins = array("Q")  # of each text: its first row in the file
        self._groups: dict[tuple[int, ...], array] = {}  # context, pieces of each part -> texts
        self._waiting: list[tuple[Sequence[str], int]] = []
        self._chars = 0

    def __enter__(self) -> VectorIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, parts: Sequence[str], context: int = 0) -> None:
        """Take in the next text, in parts: question and answer, say.

        Two texts are as alike as the two parts, or pieces of these, that are least alike. Those of
        different ``context`` (64 bits), or of another number of pieces, never resemble each other,
        and a blank text resembles nothing.
        """
        number = len(self._texts)
        if not any(part.strip() for part in parts):
            self._texts.append(ABSENT)
            return
        key = key_of(*map(normalized, parts), str(context))
        self._texts.append(self._numbers.setdefault(key, len(self._first)))
        if self._texts[-1] < len(self._first):
            return
        self._first.append(number)
        self._waiting.append((parts, context))
        self._chars += sum(map(len, parts))
        if len(self._waiting) >= BATCH_TEXTS or self._chars >= BATCH_CHARS:
            self._flush()

    def _flush(self) -> None:
        vectors = iter(self._embed([part for parts, _ in self._waiting for part in parts]))
        for parts, context in self._waiting:
            mine = [next(vectors) for _ in parts]
            shape = tuple(map(len, mine))
            self._groups.setdefault((context, *shape), array("I")).append(len(self._begins))
            self._begins.append(self._written)
            self._written += sum(shape)
            self._dimensions = mine[0].shape[1]
            self._file.write(np.concatenate(mine).astype(np.float16).tobytes())
        self._waiting, self._chars = [], 0

    def leaders(self) -> Iterator[tuple[int, float]]:
        """Yield for each text the leader that it resembles most, and how much.

        A leader is a text that resembles no leader before it; its own leader is itself (1.0).
        Equal texts have one leader.
        """
        if self._waiting:
            self._flush()
        self._file.flush()
        leader = np.arange(len(self._first))
        alike = np.ones(len(self._first), dtype=np.float32)
        progress = Progress(len(leader), "texts compared")
        for (_, *pieces), texts in self._groups.items():
            if len(texts) > 1:
                self._search(np.asarray(texts), sum(pieces), leader, alike, progress)
            else:
                progress.add()
        for number, text in enumerate(self._texts):
            if text == ABSENT:
                yield number, 1.0
            else:
                yield self._first[leader[text]], float(alike[text])

    def _search(
        self,
        texts: np.ndarray,
        pieces: int,
        leader: np.ndarray,
        alike: np.ndarray,
        progress: Progress,
    ) -> None:
        """Enter leader and similarity of texts that may resemble each other, in their order."""
        leaders = texts[:0]
        rows = max(1, BLOCK // pieces)
        for start in range(0, len(texts), rows):
            block = texts[start : start + rows]
            mine = self._vectors(block, pieces)
            best, closest = self._closest(mine, leaders, pieces)
            within = similarities(mine, mine).cpu().numpy()
            crossing = np.tril(within, -1).max(axis=1) >= self.threshold
            fresh: list[int] = []
            for row, text in enumerate(block):
                if crossing[row] and fresh:
                    other = fresh[int(within[row, fresh].argmax())]
                    if within[row, other] > best[row]:
                        best[row], closest[row] = within[row, other], block[other]
                if best[row] >= self.threshold:
                    leader[text], alike[text] = closest[row], best[row]
                else:
                    fresh.append(row)
            leaders = np.concatenate([leaders, block[fresh]])
            progress.add(len(block))

    def _closest(
        self, mine: torch.Tensor, leaders: np.ndarray, pieces: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return for each of ``mine`` the highest similarity to a leader, and the first such."""
        best = np.full(len(mine), -1, dtype=np.float32)
        closest = np.zeros(len(mine), dtype=np.int64)
        rows = max(1, LEADERS // pieces)
        for start in range(0, len(leaders), rows):
            block = leaders[start : start + rows]
            found = similarities(mine, self._vectors(block, pieces)).max(dim=1)
            alike, which = found.values.cpu().numpy(), found.indices.cpu().numpy()
            better = alike > best
            best[better], closest[better] = alike[better], block[which[better]]
        return best, closest

    def _vectors(self, texts: np.ndarray, pieces: int) -> torch.Tensor:
        """Return the vectors of texts (texts, pieces, dimensions), float32."""
        import torch

        shape = (self._written, self._dimensions)
        file = np.memmap(self._file, dtype=np.float16, mode="r", shape=shape)
        rows = np.asarray(self._begins)[texts][:, None] + np.arange(pieces, dtype=np.uint64)
        return torch.from_numpy(file[rows].astype(np.float32)).to(self._device)


def similarities(mine: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the cosine of each of ``mine`` with each of ``others``, that of the worst piece.

    Both are (texts, pieces, dimensions), vectors of length 1; the result is (mine, others).
    """
    worst = mine[:, 0] @ others[:, 0].T
    for piece in range(1, mine.shape[1]):
        worst = worst.minimum(mine[:, piece] @ others[:, piece].T)
    return worst.clamp(max=MOST)
