"""What to say of a training whose loss or gradient is no finite number: which rows, at what step.

Nothing here costs a training that goes well: rows are looked for only once one has failed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.checkpoints import SEAL, checkpoints
from sftflow.stage import StageError

MOST_NAMED = 16  # ids in the sentence
USUAL_WEIGHT = 100.0  # trained weights are far smaller; a larger one was thrown there


def token_rows(inputs: Mapping[str, Any]) -> list[list[int]]:
    """Return the token ids of each row of a batch, without padding.

    ``inputs`` are input_ids (batch, length) with an attention mask, or with position_ids that
    begin at 0 again for each row of a flattened batch.
    """
    ids = inputs["input_ids"].tolist()
    if (mask := inputs.get("attention_mask")) is not None and mask.dim() == 2:
        pairs = zip(ids, mask.tolist(), strict=True)
        return [[t for t, kept in zip(row, keep, strict=True) if kept] for row, keep in pairs]
    if (places := inputs.get("position_ids")) is None:
        return ids
    rows: list[list[int]] = []
    for some, at in zip(ids, places.tolist(), strict=True):
        for token, place in zip(some, at, strict=True):
            if place == 0 or not rows:
                rows.append([])
            rows[-1].append(token)
    return rows


def row_names(batches: Sequence[Mapping[str, Any]], dataset: Any) -> list[str]:
    """Return the ids of a step's rows, found by their tokens in ``dataset``.

    Its columns are input_ids, length and, as a rule, id; without one a row has its number.
    """
    wanted = {tuple(row) for inputs in batches for row in token_rows(inputs)}
    lengths = {len(row) for row in wanted}
    found: dict[tuple[int, ...], str] = {}
    for at, length in enumerate(dataset["length"]):
        if length in lengths:
            row = dataset[at]
            if (tokens := tuple(row["input_ids"])) in wanted:
                found.setdefault(tokens, row.get("id") or f"number {at + 1}")
    return list(found.values())


def largest_weight(model: Any, *, trained: bool) -> tuple[str, float]:
    """Return name and size of the largest weight, NaN above all, among trained or frozen ones.

    Of a sharded weight this process's part is looked at: the others may not be here to answer.
    """
    largest, where = 0.0, ""
    for name, weight in model.named_parameters():
        if weight.requires_grad is not trained or not weight.is_floating_point():
            continue
        part = weight.to_local() if hasattr(weight, "to_local") else weight
        size = float(part.detach().abs().max()) if part.numel() else 0.0
        if not math.isfinite(size):
            return name, size
        if size > largest:
            largest, where = size, name
    return where, largest


def own_name(weight: str) -> str:
    """Return a weight's name as it is in the start model, without what PEFT puts around it."""
    return weight.removeprefix("base_model.model.").replace(".base_layer.", ".")


def cause(model: Any) -> str:
    """Say what is most likely wrong and what to do about it."""
    frozen, size = largest_weight(model, trained=False)
    if not math.isfinite(size):
        name = own_name(frozen)
        return f"the start model's weight {name} is {size}: make or fetch the base again"
    trained, size = largest_weight(model, trained=True)
    if not size <= USUAL_WEIGHT:
        return (
            f"the steps before have thrown the weight {own_name(trained)} to {size:.3g}: lower "
            "training.learning_rate or raise training.warmup_ratio"
        )
    return (
        "the weights are as they should be, so look at these rows; if they are sound, lower "
        "training.learning_rate or set training.dtype to float32"
    )


def kept(folder: Path) -> str:
    """Say which checkpoint a training leaves."""
    sealed = [c.name for c in checkpoints(folder) if (c / SEAL).is_file()]
    return f"{sealed[0]} is kept" if sealed else "no checkpoint was made before it"


def sentence(
    what: str,
    *,
    step: int,
    learning_rate: float,
    batches: Sequence[Mapping[str, Any]],
    dataset: Any,
    model: Any,
    folder: Path,
) -> str:
    """Return what a training that stops here says: figure, step, rows, cause, checkpoint."""
    names = row_names(batches, dataset)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    rows = f"rows {', '.join(names[:MOST_NAMED])}{more}" if names else "rows that are not known"
    return (
        f"{what} at step {step} (learning rate {learning_rate:.3g}), in a batch of {rows}: "
        f"{cause(model)}; {kept(folder)}"
    )


class StopsAtNoNumber:
    """Mixed into a transformers Trainer: no step is taken that is no finite number."""

    _batches: tuple[Mapping[str, Any], ...] = ()  # of the step that is under way

    def training_step(self, model: Any, inputs: Mapping[str, Any], *more: Any) -> Any:
        """Return the loss of a batch; raise StageError with its rows if that is no finite number.

        Looking at it waits for the device, as TRL does after each batch for its own figures.
        """
        self._batches = (*self._batches, inputs)
        loss = super().training_step(model, inputs, *more)
        if not math.isfinite(figure := loss.item()):
            self._stop(f"the loss is {figure}", [inputs])
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Return the norm; raise StageError before weights take a step that is no finite number.

        With float16 a gradient may overflow: then the scaler leaves the step out.
        """
        norm = super()._get_grad_norm(model, grad_norm)
        figure = norm.item() if hasattr(norm, "item") else norm
        if figure is not None and not self.args.fp16 and not math.isfinite(figure):
            self._stop(f"the gradient norm is {figure}", self._batches)
        self._batches = ()
        return norm

    def _stop(self, what: str, batches: Sequence[Mapping[str, Any]]) -> None:
        raise StageError(
            sentence(
                what,
                step=self.state.global_step + 1,
                learning_rate=self._get_learning_rate(),
                batches=batches,
                dataset=self.train_dataset,
                model=self.model,
                folder=Path(self.args.output_dir),
            )
        )
