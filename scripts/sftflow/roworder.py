"""In which order a training sees its rows, as a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from sftflow.stage import StageError

POOL_GROUPS = 50  # groups sorted together: as transformers' LengthGroupedSampler


class Shuffled(torch.utils.data.Sampler[int]):
    """Every row once per epoch in any order, which is a function of seed and epoch alone.

    The orders of transformers' samplers hang on the global random state, so a resumed training
    would see other batches.
    """

    def __init__(self, lengths: Sequence[int], group: int, seed: int) -> None:
        """Order rows of ``lengths`` (tokens); an optimizer step takes ``group`` rows."""
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
        yield from map(int, self._ordered(random.permutation(len(self.lengths)), random))

    def _ordered(self, order: np.ndarray, _random: np.random.Generator) -> np.ndarray:
        return order


class GroupedByLength(Shuffled):
    """Groups of rows of like length, so that little is padding."""

    def _ordered(self, order: np.ndarray, random: np.random.Generator) -> np.ndarray:
        pool = self.group * POOL_GROUPS
        groups = []
        for start in range(0, len(order), pool):
            rows = order[start : start + pool]
            rows = rows[np.argsort(-self.lengths[rows], kind="stable")]
            groups += [rows[at : at + self.group] for at in range(0, len(rows), self.group)]
        whole = [g for g in groups if len(g) == self.group]
        rest = [g for g in groups if len(g) < self.group]  # last, or it would shift the others
        return np.concatenate([*(whole[i] for i in random.permutation(len(whole))), *rest])


class EvenBatches(Shuffled):
    """The steps of Shuffled, row for row; within a step each batch gets about as many tokens."""

    def __init__(self, lengths: Sequence[int], group: int, seed: int, batch: int) -> None:
        """Order rows of ``lengths``; a step takes ``group`` rows, ``batch`` at a time."""
        super().__init__(lengths, group, seed)
        self.batches = group // batch

    def _ordered(self, order: np.ndarray, _random: np.random.Generator) -> np.ndarray:
        steps = [order[at : at + self.group] for at in range(0, len(order), self.group)]
        return np.concatenate([self._dealt(rows) for rows in steps])

    def _dealt(self, rows: np.ndarray) -> np.ndarray:
        """Deal rows to batches by falling length, in turns there and back."""
        if len(rows) < self.group:  # a last, smaller step keeps its batches full
            return rows
        by_length = rows[np.argsort(-self.lengths[rows], kind="stable")]
        turns = by_length.reshape(-1, self.batches)  # (rows of a batch, batches)
        turns[1::2] = turns[1::2, ::-1]
        return turns.T.reshape(-1)


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


def row_sampler(
    lengths: Sequence[int], batching: str, group: int, batch: int, seed: int
) -> torch.utils.data.Sampler[int]:
    """Return the order of shuffled rows for padded, grouped or packed batches."""
    if batching == "packed":
        return EvenBatches(lengths, group, seed, batch)
    return (GroupedByLength if batching == "grouped" else Shuffled)(lengths, group, seed)


def batches(
    sampler: torch.utils.data.Sampler[int], group: int, batch: int, steps: int
) -> Iterator[np.ndarray]:
    """Yield the row numbers of each batch of ``steps`` steps, ``group`` rows a step."""
    epoch = 0
    while steps > 0:
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
        seen = np.asarray(list(sampler))[: steps * group]
        for at in range(0, len(seen), batch):
            yield seen[at : at + batch]
        steps -= -(-len(seen) // group)
        epoch += 1


def batch_tokens(lengths: np.ndarray, packed: bool) -> int:
    """Return what is computed for rows of these lengths (tokens), padding included."""
    return int(lengths.sum() if packed else len(lengths) * lengths.max())


def computed_tokens(
    sampler: torch.utils.data.Sampler[int],
    lengths: Sequence[int],
    group: int,
    batch: int,
    steps: int,
    packed: bool,
) -> tuple[int, int]:
    """Return the tokens of rows in ``steps`` steps, and the tokens computed with padding.

    Counted by going through the orders again, so that a resumed training has the same figures.
    """
    known = np.asarray(lengths)
    real = computed = 0
    for rows in batches(sampler, group, batch, steps):
        real += int(known[rows].sum())
        computed += batch_tokens(known[rows], packed)
    return real, computed


def longest_batch(
    some: Iterable[np.ndarray], lengths: Sequence[int], packed: bool
) -> tuple[list[int], int]:
    """Return the rows of the first batch for which most is computed, and how much (tokens)."""
    known = np.asarray(lengths)
    most, longest = 0, np.arange(0)
    for rows in some:
        tokens = batch_tokens(known[rows], packed)
        if tokens > most:
            most, longest = tokens, rows
    return longest.tolist(), most
