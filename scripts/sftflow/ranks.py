"""AdaLoRA while it trains: ranks are taken from where they matter least (arXiv:2303.10512).

PEFT does the counting; what must happen in each step, and how the result is saved, is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainerCallback


class Ranks(TrainerCallback):
    """After each step, before the gradients go, PEFT weighs the ranks and masks the least."""

    def on_optimizer_step(self, _args, state, _control, model=None, **_kwargs) -> None:
        """Allocate for the step that was just taken."""
        model.base_model.update_and_allocate(state.global_step + 1)


def orthogonality(model: Any) -> torch.Tensor:
    """Return the mean of |P P' - I| over all P and Q, times its weight (equation 4).

    PEFT adds it to the model's own loss, which TRL's fused output head never asks for.
    """
    config = model.peft_config[model.active_adapter]
    norms = []
    for name, weight in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            product = weight @ weight.T if "lora_A" in name else weight.T @ weight
            unit = torch.eye(product.shape[0], dtype=product.dtype, device=product.device)
            norms.append(torch.linalg.matrix_norm(product - unit))
    return config.orth_reg_weight * torch.stack(norms).mean()


@contextmanager
def all_ranks(model: Any) -> Iterator[None]:
    """Let PEFT save each matrix whole, masked ranks as zeros.

    It would cut them by the newest pattern, and a rank can come back between two allocations: what
    is saved would not be what was validated. A zero singular value adds nothing when merged.
    """
    config = model.peft_config[model.active_adapter]
    pattern, config.rank_pattern = config.rank_pattern, None
    try:
        yield
    finally:
        config.rank_pattern = pattern
