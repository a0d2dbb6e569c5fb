"""Rows end to end in one sequence, without padding, each seen by the model as if it were alone.

TRL's padding-free batches mark where a row begins (position_ids start at 0 again, cu_seq_lens).
Flash attention reads these marks. Without it, PyTorch's attention is called once per row: that is
the block-diagonal mask without computing what lies outside of the blocks.

Imported only where a training runs, because it needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.utils import is_flash_attn_2_available
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from sftflow.layerkinds import carries_state
from sftflow.stage import StageError

BY_ROW = "sdpa_by_row"  # the name of the attention below in transformers
# A log-probability of a row beside another may differ so much from that of the row alone: float32
# sums in another order, and in 16 bits that is seen in the third digit of a logit.
BOUNDS = {torch.float32: 1e-4}
HALF_BOUND = 0.1


class PackedRows(DataCollatorForLanguageModeling):
    """TRL's padding-free collator, which also says how long each row is."""

    def __init__(self, pad_token_id: int) -> None:
        """Lay rows end to end; ``pad_token_id`` is asked for and never used."""
        super().__init__(pad_token_id=pad_token_id, padding_free=True)

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch of one sequence: input_ids, labels, position_ids (1, tokens), marks."""
        lengths = [len(example["input_ids"]) for example in examples]
        return {**super().torch_call(examples), "row_lengths": lengths}


def attention_by_row(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    row_lengths: Sequence[int] | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Return PyTorch's attention within each row, (1, tokens, heads, head size).

    ``query``, ``key`` and ``value`` are (1, heads, tokens, head size). A mask is only there where
    causal attention within rows is not all (sliding windows); then it says all.
    """
    if row_lengths is None or attention_mask is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    # split, not slices: its gradient is one concatenation, that of a slice is as long as the batch
    parts = zip(*(x.split(list(row_lengths), dim=2) for x in (query, key, value)), strict=True)
    rows = [sdpa_attention_forward(module, *part, None, **options)[0] for part in parts]
    return torch.cat(rows, dim=1), None


def mask_by_row(**asked: Any) -> torch.Tensor | None:
    """Return the mask that attention_by_row needs: none where all is causal within rows."""
    plain = asked.get("attention_mask") is None and asked.get("local_size") is None
    if plain and not asked.get("use_vmap") and asked["q_length"] == asked["kv_length"]:
        return None
    return sdpa_mask(**asked)


AttentionInterface.register(BY_ROW, attention_by_row)
AttentionMaskInterface.register(BY_ROW, mask_by_row)


def attend_by_row(model: Any, base: str) -> None:
    """Let a model attend within the rows of a packed batch: flash attention if there is one.

    That knows 16 bits only; PyTorch's attention has flash kernels too, one call a row.
    Raises StageError for an architecture whose attention can't be replaced, or that carries text
    on by other means.
    """
    if carries_state(model):
        # An untrained LFM2's losses move by 4e-5: no bound on losses tells that from rounding.
        raise _unpackable(base, "its layers carry a state or a convolution from row to row")
    half = torch.cuda.is_available() and model.dtype in (torch.bfloat16, torch.float16)
    if half and is_flash_attn_2_available() and getattr(model, "_supports_flash_attn", 0):
        wanted = "flash_attention_2"
    elif getattr(model, "_supports_sdpa", False):
        wanted = BY_ROW
    else:
        raise _unpackable(base, "its attention can't be kept within rows")
    model.set_attn_implementation(wanted)
    if model.config.get_text_config()._attn_implementation != wanted:
        raise _unpackable(base, "its attention can't be kept within rows")


def packed_rows(model: Any, tokenizer: Any, base: str) -> PackedRows:
    """Return what packs rows for a model, which from now on attends within them."""
    attend_by_row(model, base)
    return PackedRows(tokenizer.pad_token_id)


def check_rows_are_apart(model: Any, collator: PackedRows, rows: Any, base: str) -> None:
    """Raise StageError if a row sees the one before it, or has another loss than alone.

    The first is asked of the gradient: of a row's log-probabilities none reaches the embeddings of
    its neighbour, in whatever precision. The second shows positions that don't begin at 0 again.
    ``rows`` have input_ids and labels; the first two are taken.
    """
    if len(rows) < 2:
        return
    first, second = ({k: rows[i][k] for k in ("input_ids", "labels")} for i in (0, 1))
    start = len(first["input_ids"])
    leak = gradient_of_neighbour(model, collator([first, second]), start)
    if not leak == 0:  # also true for NaN
        raise _unpackable(base, "a row's loss changes with the row before it")
    alone = log_probabilities(model, collator([second]))
    beside = log_probabilities(model, collator([first, second]))[:, start:]
    difference = float((beside - alone).abs().max())
    if not difference <= BOUNDS.get(model.dtype, HALF_BOUND):
        raise _unpackable(
            base, f"a row's loss is another one alone (by {difference:.2g} nats at a token)"
        )


def gradient_of_neighbour(model: Any, batch: Mapping[str, Any], start: int) -> float:
    """Return the largest gradient, of the row from ``start`` on, at an embedding before it."""
    vectors = []

    def kept(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
        vectors.append(output.detach().requires_grad_(True))  # (1, tokens, width)
        return vectors[0].clone()  # some models go on to change it in place

    hook = model.get_input_embeddings().register_forward_hook(kept)
    try:
        found = log_probabilities(model, batch, with_gradient=True)
        (gradient,) = torch.autograd.grad(found[:, start:].sum(), vectors)
    finally:
        hook.remove()
    return float(gradient[:, :start].abs().max())


def log_probabilities(
    model: Any, batch: Mapping[str, Any], with_gradient: bool = False
) -> torch.Tensor:
    """Return the log-probability of each label (1, tokens - 1), 0 where there is none.

    The model has TRL's fused output head.
    """
    training = model.training
    model.eval()
    inputs = {k: v.to(model.device) if torch.is_tensor(v) else v for k, v in batch.items()}
    with torch.set_grad_enabled(with_gradient):
        found = model(**inputs, use_cache=False, fused_lm_head=True).log_probs
    model.train(training)
    return found


def row_losses(model: Any, batch: Mapping[str, Any]) -> list[float]:
    """Return the summed loss of each row of a packed batch (nats)."""
    losses = -log_probabilities(model, batch)[0].double()  # (tokens - 1)
    ends = torch.tensor([0, *batch["row_lengths"]]).cumsum(0).tolist()
    # The loss of a row's token i + 1 stands at i; that of the next row's first token is 0.
    return [float(losses[start : end - 1].sum()) for start, end in pairwise(ends)]


def _unpackable(base: str, why: str) -> StageError:
    return StageError(f"rows can't be packed for {base}: {why}; set training.batching: grouped")
