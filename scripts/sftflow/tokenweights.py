"""Weights of single messages in the loss.

A row may say how much each of its assistant messages counts. The loss of a step is then
sum(w * nll) / sum(w) over the tokens of all its rows, w being the weight of a token's message:
a weight says how much a token counts beside others, not how large the steps are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

COLUMN = "loss_weights"
WEIGHTS = pa.field(COLUMN, pa.list_(pa.float32()))  # one per token, 0 where no loss


def has_weights(path: Path) -> bool:
    """Say whether any assistant message of a split has a weight other than 0 and 1."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["messages"]):
            messages = pc.list_flatten(batch.column(0))
            weights = pc.fill_null(pc.struct_field(messages, "weight"), 1.0)
            plain = pc.is_in(weights, pa.array([0.0, 1.0], pa.float32()))
            said = pc.equal(pc.struct_field(messages, "role"), "assistant")
            if pc.any(pc.and_(said, pc.invert(plain))).as_py():
                return True
    return False


class WeightedCollator:
    """A collator of rows with labels that also lays out their loss weights, in whatever shape."""

    def __init__(self, collate: Callable[[list[dict]], dict[str, Any]]) -> None:
        """Use ``collate``, which pads labels with -100 or joins rows to one."""
        self.collate = collate

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the batch with ``loss_weights`` of the shape of ``labels``, 0 where no loss.

        Weights take the way of labels through the collator: padded, flattened or packed alike.
        """
        plain = [{k: v for k, v in row.items() if k != COLUMN} for row in rows]
        as_labels = [{**one, "labels": row[COLUMN]} for one, row in zip(plain, rows, strict=True)]
        weights = self.collate(as_labels)["labels"].clamp(min=0)
        return {**self.collate(plain), COLUMN: weights}


def weigh(log_probs: Any, weights: Any) -> Any:
    """Return log-probabilities (batch, seq - 1) times the weights (batch, seq) of their labels.

    With vectors before the row (prompt tuning) there are more of them, which carry no loss.
    """
    import torch

    ahead = log_probs.shape[1] - (weights.shape[1] - 1)
    return log_probs * torch.nn.functional.pad(weights[:, 1:], (ahead, 0)).to(log_probs)


class WeighsTokens:
    """Mixed into TRL's SFTTrainer: the loss of each token counts as ``loss_weights`` says.

    Without that column nothing is different.
    """

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if COLUMN not in self._signature_columns:
            self._signature_columns.append(COLUMN)

    def weigh_tokens(self) -> None:
        """Let batches bring along weights if the rows have them."""
        if COLUMN in self.train_dataset.column_names:
            self.data_collator = WeightedCollator(self.data_collator)

    def _get_num_items_in_batch(self, batch_samples: list, device: Any) -> Any:
        """Return what the losses of a step are divided by: the sum of its weights."""
        if not batch_samples or COLUMN not in batch_samples[0]:
            return super()._get_num_items_in_batch(batch_samples, device)
        total = sum(batch[COLUMN][:, 1:].sum() for batch in batch_samples).to(device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return total

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the weighted loss: by ``num_items_in_batch``, else by the sum of the weights."""
        weights = inputs.pop(COLUMN, None)
        if weights is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

        def weighted(_module: Any, _args: Any, output: Any) -> Any:
            output.log_probs = weigh(output.log_probs, weights)
            return output

        hook = model.register_forward_hook(weighted)
        try:
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        finally:
            hook.remove()
            inputs[COLUMN] = weights
        if num_items_in_batch is None:  # the parent has divided by the number of tokens
            tokens = (inputs["labels"][:, 1:] != -100).sum()
            return loss * tokens / weights[:, 1:].sum()
        return (
            loss * num_items_in_batch.clamp(min=1) / num_items_in_batch
        )  # it divides by 1 at least


def loss_total(inputs: Mapping[str, Any]) -> Any:
    """Return what a batch's mean loss is a mean over: its trained tokens, or their weights."""
    if COLUMN in inputs:
        return inputs[COLUMN][:, 1:].sum()
    return (inputs["labels"][:, 1:] != -100).sum()
