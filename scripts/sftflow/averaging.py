"""The mean of the weights at several steps instead of the last ones.

Stochastic weight averaging (arXiv:1803.05407), as Vaswani et al. 2017 average their last
checkpoints. A sum is carried along, in the checkpoints too, so that no old one must be kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from transformers import TrainerCallback

from sftflow.training import Schedule

SUM = "average.safetensors"


def averaged_steps(steps: int, save_steps: int, count: int) -> list[int]:
    """Return the last step and ``count`` - 1 more, each ``save_steps`` before the next."""
    return sorted(step for step in (steps - n * save_steps for n in range(count)) if step > 0)


def average_of(count: int | None, plan: Schedule) -> Average | None:
    """Return what averages ``count`` times in a training, None if nothing is averaged."""
    return Average(averaged_steps(plan.steps, plan.save_steps, count)) if count else None


class Average(TrainerCallback):
    """Adds up the trained weights at the given steps."""

    def __init__(self, steps: list[int]) -> None:
        """Average the weights after these steps."""
        self.steps = steps
        self.sums: dict[str, torch.Tensor] = {}

    def on_step_end(self, _args, state, _control, model=None, **_kwargs) -> None:
        """Add the weights, in float32, if this is one of the steps."""
        if state.global_step not in self.steps:
            return
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                now = parameter.detach().float()
                self.sums[name] = self.sums[name] + now if name in self.sums else now.clone()

    def save(self, checkpoint: Path) -> None:
        """Write the sum so far into a checkpoint."""
        if self.sums:
            sums = {name: value.contiguous().cpu() for name, value in self.sums.items()}
            safetensors.torch.save_file(sums, checkpoint / SUM)

    def load(self, checkpoint: Path, device: Any) -> None:
        """Put back what save wrote, nothing if there was nothing yet."""
        path = checkpoint / SUM
        self.sums = safetensors.torch.load_file(path, device=str(device)) if path.is_file() else {}

    def put_into(self, model: Any) -> None:
        """Give ``model`` the mean of the weights."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in self.sums:
                    parameter.copy_(self.sums[name] / len(self.steps))
