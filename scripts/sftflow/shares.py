"""Each process's share of the rows, in a training of several.

The batches of one order are dealt in turns, so that a step has the very rows that it has in one
process. Every process must have the same number of full batches, or the others would wait for it
forever. What lacks at the end is filled with rows that carry no loss: rows taken once more from
the beginning, as accelerate does, would count twice in the last step and in the validation loss.

Imported only where a training runs, because it needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader

from sftflow.masks import IGNORED
from sftflow.tokenweights import COLUMN

FILLER_TOKENS = 2  # the fewest of which one is predicted
SILENT = {"labels": IGNORED, COLUMN: 0.0}


class Share(torch.utils.data.Sampler[int]):
    """The rows of one process: of each ``batch`` x ``processes`` rows the ``rank``-th batch."""

    def __init__(
        self, order: Any, count: int, batch: int, processes: int, rank: int, fill: bool
    ) -> None:
        """Deal ``order``, an iterable of the numbers of ``count`` rows.

        To ``fill`` is to add numbers from ``count`` on, until each process has full batches.
        """
        self.order, self.count, self.batch = order, count, batch
        self.processes, self.rank = processes, rank
        self.fillers = -count % (batch * processes) if fill else 0

    def set_epoch(self, epoch: int) -> None:
        """Use the order of ``epoch`` where there are several."""
        if hasattr(self.order, "set_epoch"):
            self.order.set_epoch(epoch)

    def _dealt(self, numbers: Sequence[int]) -> Iterator[int]:
        for at in range(self.rank * self.batch, len(numbers), self.processes * self.batch):
            yield from numbers[at : at + self.batch]

    def __len__(self) -> int:
        """Return the number of rows of this process, fillers included."""
        return sum(1 for _ in self._dealt(range(self.count + self.fillers)))

    def __iter__(self) -> Iterator[int]:
        """Yield row numbers."""
        yield from self._dealt([*self.order, *range(self.count, self.count + self.fillers)])


class FilledRows(torch.utils.data.Dataset):
    """Rows, and as many more as are asked for, which ``filler`` makes of the first ones."""

    def __init__(self, rows: Any, fillers: int, filler: Callable[[Mapping], Mapping]) -> None:
        """Put ``fillers`` behind ``rows``."""
        self.rows, self.fillers, self.filler = rows, fillers, filler

    def __len__(self) -> int:
        """Return the number of rows, fillers included."""
        return len(self.rows) + self.fillers

    def __getitem__(self, number: int) -> Mapping[str, Any]:
        """Return a row, or what stands for one."""
        count = len(self.rows)
        return self.rows[number] if number < count else self.filler(self.rows[number % count])


def without_loss(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the beginning of a row, none of whose tokens carries loss."""
    return {
        name: [SILENT.get(name, token) for token in value[:FILLER_TOKENS]]
        if isinstance(value, Sequence) and not isinstance(value, str)
        else value
        for name, value in row.items()
    }


def tokens_with_loss_rows(inputs: Mapping[str, Any]) -> torch.Tensor:
    """Return the tokens of those rows of a batch that carry loss: all but fillers, no padding."""
    told = inputs["labels"] != IGNORED
    if "row_lengths" in inputs:
        rows = told[0].split(list(inputs["row_lengths"]))
        return torch.stack([len(row) * row.any() for row in rows]).sum()
    return inputs["attention_mask"][told.any(dim=1)].sum()


def any_process(said: bool, args: Any) -> bool:
    """Return whether any process of a training says so; all of them must ask."""
    if args.world_size == 1:
        return said
    told = torch.tensor(int(said), device=args.device)
    torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
    return bool(told)


class DealsRows:
    """Mixed into a transformers Trainer: several processes share rows as Share says."""

    silent_fillers = False  # fillers change no loss; else there are none in validation

    def filler(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what stands for a row where rows lack; here that row once more."""
        return row

    def _get_dataloader(
        self, dataset, description, batch_size, sampler_fn=None, is_training=False, **options
    ):
        """Return the loader of this process's batches; with one process the parent's.

        accelerate would deal them too, but loses the epoch where a training goes on in the middle
        of one, and with it the order of the rows (accelerate 1.15, transformers 5.19).
        """
        args = self.args
        if args.world_size == 1:
            return super()._get_dataloader(
                dataset, description, batch_size, sampler_fn, is_training, **options
            )
        order = None if sampler_fn is None else sampler_fn(dataset)
        order = range(len(dataset)) if order is None else order
        fill = is_training or self.silent_fillers
        place = (args.world_size, args.process_index)
        share = Share(order, len(dataset), batch_size, *place, fill)
        loader = torch.utils.data.DataLoader(
            FilledRows(dataset, share.fillers, self.filler),
            batch_size=batch_size,
            sampler=share,
            collate_fn=self._get_collator_with_removed_columns(self.data_collator, description),
            pin_memory=args.dataloader_pin_memory,
        )
        one = {"num_processes": 1, "process_index": 0}  # it is dealt already
        return prepare_data_loader(loader, args.device, **one, put_on_device=True)
