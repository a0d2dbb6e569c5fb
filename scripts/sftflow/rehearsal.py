"""The dearest moments of a training first: what does not fit is told before the first step.

With the optimizer's moments there and, where batches are accumulated, the gradients of an earlier
one, the batch of the most tokens goes forward and backward, the longest validation batch forward,
and a checkpoint is written and removed. Then everything is as if that had not been: weights,
moments, gradients, random numbers and counters, to the bit. Weights need no copy for that: the
step that makes the moments is one of gradient 0 at rate 0 without decay, and w * 1 - 0 is w.

Imported only where a training runs, because it needs torch.
"""

from __future__ import annotations

import copy
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from sftflow.lacksmemory import is_lack_of_memory, lack_of_memory
from sftflow.manifests import write_json
from sftflow.peakmemory import KEPT, Peak, device_bytes
from sftflow.roworder import batches, longest_batch
from sftflow.stage import StageError, console

SAVED = "rehearsal"  # a folder beside the checkpoints, there for a moment
STEPPING = ("lr", "weight_decay")  # what of a parameter group moves weights without a gradient


@contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Give every generator of random numbers the state back that it has now."""
    python, numpy = random.getstate(), np.random.get_state()
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=gpus):
        yield
    random.setstate(python)
    np.random.set_state(numpy)


@contextmanager
def counters_kept(trainer: Any) -> Iterator[None]:
    """Give the trainer back what it counts for its log, and the mode of its model."""
    names = ("_metrics", "_total_train_tokens", "_batches")
    before = {name: copy.deepcopy(getattr(trainer, name)) for name in names}
    training = trainer.model.training
    buffers = [(b, b.detach().clone()) for b in trainer.model.buffers()]
    yield
    trainer.model.train(training)
    for name, value in before.items():
        setattr(trainer, name, value)
    for buffer, value in buffers:
        buffer.copy_(value)


@contextmanager
def moments_of_zero(optimizer: Any, with_gradients: bool) -> Iterator[None]:
    """Let an optimizer hold what it holds after a step, and gradients; at the end neither.

    One that was loaded from a checkpoint holds it already, and is left as it is.
    """
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrapper counts steps
    for group in inner.param_groups:
        for weight in group["params"]:
            weight.grad = torch.zeros_like(weight)
    loaded = bool(inner.state)
    if not loaded:
        before = [{key: group[key] for key in STEPPING} for group in inner.param_groups]
        for group in inner.param_groups:
            group.update(dict.fromkeys(STEPPING, 0.0))
        inner.step()
        for group, kept in zip(inner.param_groups, before, strict=True):
            group.update(kept)
    if not with_gradients:
        inner.zero_grad(set_to_none=True)
    yield
    inner.zero_grad(set_to_none=True)
    if not loaded:
        inner.state.clear()


class Rehearsal(TrainerCallback):
    """Goes through a batch, an evaluation and a save where the training is about to begin."""

    trainer: Any = None  # made after its callbacks

    def __init__(self, told: Mapping[str, Any], method: str, possible: bool = True) -> None:
        """Start to measure; create this before the model is loaded.

        ``told`` says whether to ``check`` and has the ``estimate`` made beforehand. ``possible``
        is false where a process has not the whole model, or rows are pairs of answers.
        """
        self.told, self.method, self.possible = told, method, possible
        self.peak = Peak()
        self.longest: dict[str, int] | None = None  # the batch: rows, tokens computed for it
        self.doing = ""

    def keep(self, folder: Path) -> None:
        """Write down what was estimated, tried and used, unless no step was taken.

        The peak differs a little each time, so it is in no manifest: those are the same bytes for
        the same work.
        """
        if self.trainer.state.global_step > self.trainer._initial_global_step:
            told = {"estimate": self.told["estimate"], "longest_batch": self.longest}
            write_json(folder / KEPT, told | {"peak_bytes": self.peak.bytes()})

    @contextmanager
    def lack_told(self, doing: Callable[[], str]) -> Iterator[None]:
        """Raise StageError with what would fit where memory runs out in the block."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_lack_of_memory(error):
                raise
            used, size = self.peak.bytes(), device_bytes()
            said = lack_of_memory(doing(), self.trainer.args, self.method, used, size)
            raise StageError(said) from None

    def on_train_begin(self, args, state, _control, **_kwargs) -> None:
        """Rehearse, unless the training is finished and only put back."""
        if not (self.told["check"] and self.possible and state.global_step < state.max_steps):
            return
        start_s = time.monotonic()
        with (
            self.lack_told(lambda: f"{self.doing}, tried before the training begins"),
            random_numbers_kept(),
            counters_kept(self.trainer),
        ):
            self._rehearse(args, state)
        if args.should_save:
            console().say(
                f"rehearsed in {time.monotonic() - start_s:.1f} s: a batch of "
                f"{self.longest['rows']} rows and {self.longest['tokens']:,} tokens, the longest, "
                f"an evaluation and a save take up to {self.peak.bytes() / 2**30:.2f} GiB"
            )

    def _rehearse(self, args: Any, state: Any) -> None:
        trainer, packed = self.trainer, self.trainer.batching == "packed"
        size = args.per_device_train_batch_size
        order = batches(trainer._get_train_sampler(), trainer._step_rows(), size, state.max_steps)
        rows, tokens = longest_batch(order, trainer.train_dataset["length"], packed)
        self.longest = {"rows": len(rows), "tokens": tokens}
        self.doing = "the optimizer's moments"
        with moments_of_zero(trainer.optimizer, args.gradient_accumulation_steps > 1):
            self.doing = f"the longest batch ({len(rows)} rows, {tokens:,} tokens with padding)"
            self._forward_and_backward(self._batch(trainer.train_dataset, rows))
            if trainer.eval_dataset is not None:
                count = len(trainer.eval_dataset)
                some = (np.arange(at, min(at + size, count)) for at in range(0, count, size))
                rows, tokens = longest_batch(some, trainer.eval_dataset["length"], packed)
                self.doing = f"the longest validation batch ({len(rows)} rows, {tokens:,} tokens)"
                self._evaluate(self._batch(trainer.eval_dataset, rows))
            self.doing = "the first checkpoint"
            self._save(Path(args.output_dir) / SAVED)

    def _batch(self, dataset: Any, rows: list[int]) -> dict[str, Any]:
        trainer = self.trainer
        return trainer._prepare_inputs(trainer.data_collator([dataset[row] for row in rows]))

    def _forward_and_backward(self, inputs: dict[str, Any]) -> None:
        # The model itself, not what several processes wrap around it: nothing is exchanged.
        trainer = self.trainer
        trainer.model.train()
        steps = trainer.args.gradient_accumulation_steps
        trainer.current_gradient_accumulation_steps = steps
        count = trainer._get_num_items_in_batch([inputs], trainer.args.device)
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model, inputs, num_items_in_batch=count)
        trainer.accelerator.backward(loss)

    def _evaluate(self, inputs: dict[str, Any]) -> None:
        trainer = self.trainer
        trainer.model.eval()
        with torch.no_grad(), trainer.compute_loss_context_manager():
            trainer.compute_loss(trainer.model, inputs)

    def _save(self, folder: Path) -> None:
        trainer = self.trainer
        shutil.rmtree(folder, ignore_errors=True)
        trainer.save_model(str(folder), _internal_call=True)
        if trainer.args.should_save:
            trainer._save_optimizer_and_scheduler(str(folder))
            shutil.rmtree(folder)
        trainer.accelerator.wait_for_everyone()
