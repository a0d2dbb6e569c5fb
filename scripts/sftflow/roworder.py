"""In which order a training sees its rows, as a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from sftflow.stage import StageError

POOL_GROUPS = 50  # groups sorted together: as transformers' LengthGroupedSampler


class GroupedByLength(torch.utils.data.Sampler[int]):
    """Every row once per epoch, in groups of like length, so that little is padding.

    The order is a function of seed and epoch alone. That of transformers' sampler hangs on
    the global random state, so a resumed training would see other batches.
    """

    def __init__(self, lengths: Sequence[int], group: int, seed: int) -> None:
        """Order rows of ``lengths`` (tokens) in groups of ``group`` rows."""
        self.lengths = np.asarray(lengths)
        self.group, self.seed, self.epoch = group, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Use the order of ``epoch``."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """Yield row numbers."""
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(len(self.lengths))
        pool = self.group * POOL_GROUPS
        groups = []
        for start in range(0, len(order), pool):
            rows = order[start : start + pool]
            rows = rows[np.argsort(-self.lengths[rows], kind="stable")]
            groups += [rows[at : at + self.group] for at in range(0, len(rows), self.group)]
        whole = [g for g in groups if len(g) == self.group]
        rest = [g for g in groups if len(g) < self.group]  # last, or it would shift the others
        for index in random.permutation(len(whole)):
            yield from map(int, whole[index])
        for rows in rest:
            yield from map(int, rows)


class KeptOrder(torch.utils.data.Sampler[int]):
    """Every row once per epoch, in the order of the data or by length; each epoch is the same.

    For a curriculum (Bengio et al. 2009): what the data or the lengths put first is learned first.
    """

    def __init__(self, lengths: Sequence[int], order: str) -> None:
        """Order rows of ``lengths`` (tokens): ``as_is`` or ``short_first``."""
        if order not in ("as_is", "short_first"):
            raise StageError(f"order is {order!r}; expected shuffled, as_is or short_first")
        known = np.asarray(lengths)
        by_length = np.argsort(known, kind="stable")
        self.rows = by_length if order == "short_first" else np.arange(len(known))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        """Yield row numbers."""
        yield from self.rows.tolist()
