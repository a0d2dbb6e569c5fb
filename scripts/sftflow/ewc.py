"""Elastic weight consolidation: weights that a general text needs move less.

Kirkpatrick et al. 2017 (arXiv:1612.00796, equation 3) add to the loss

    lambda / 2 * sum_i F_i (w_i - w*_i)^2

with w* the weights before training and F the diagonal of the Fisher information there. Of LoRA the
weights are W + s B A with W frozen, so what moves is s B A, and it is weighed with the Fisher of W
(EWC-LoRA of Xiang et al. 2023, arXiv:2305.10626).

F is that of one token: at lambda 1 the penalty estimates, to second order and by the diagonal
alone, by how many nats per token the loss on the text rises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sftflow.stage import StageError

WINDOW = 256  # tokens; longer ones cost memory and change little


class Anchor:
    """The penalty on moving weights, by name: how far each has moved, and its Fisher."""

    def __init__(
        self,
        fisher: Mapping[str, torch.Tensor],
        moved: Mapping[str, Callable[[], torch.Tensor]],
        strength: float,
    ) -> None:
        """Weigh what ``moved`` returns now (the shape of the weight) by ``fisher``."""
        self.fisher, self.moved, self.strength = fisher, moved, strength

    def penalty(self) -> torch.Tensor:
        """Return lambda / 2 * sum F (w - w*)^2 (a number; nats per token at lambda 1)."""
        parts = [(f * self.moved[name]() ** 2).sum() for name, f in self.fisher.items()]
        return self.strength / 2 * torch.stack(parts).sum()


def adapted_layers(model: Any) -> dict[str, Any]:
    """Return the layers that have a LoRA adapter, by name."""
    from peft.tuners.lora import LoraLayer

    return {name: m for name, m in model.named_modules() if isinstance(m, LoraLayer)}


def text_windows(path: Path, tokenizer: Any, length: int, count: int) -> list[list[int]]:
    """Return at most ``count`` windows of ``length`` tokens, evenly over the whole of a text."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"{path} can't be read as UTF-8 text: {error}") from None
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) < 2:
        raise StageError(f"{path} has {len(ids)} tokens; training.ewc needs a longer text")
    starts = list(range(0, len(ids) - 1, length))
    taken = (
        starts if len(starts) <= count else [starts[i * len(starts) // count] for i in range(count)]
    )
    return [ids[start : start + length] for start in taken]


def fisher_diagonal(
    model: Any, weights: Mapping[str, torch.Tensor], windows: Sequence[Sequence[int]]
) -> dict[str, torch.Tensor]:
    """Return the diagonal of the Fisher information of one token, float32, by name.

    The mean of T g^2 over the windows, g the gradient of a window's mean loss and T its predicted
    tokens: were tokens independent, that is the mean of a token's squared gradient. It is the
    empirical Fisher: gradients of the text itself, not of what the model would say.
    """
    asked = {name: weight.requires_grad for name, weight in weights.items()}
    training = model.training
    model.eval()
    sums = {name: torch.zeros_like(w, dtype=torch.float32) for name, w in weights.items()}
    for weight in weights.values():
        weight.requires_grad_(True)
    for window in windows:
        ids = torch.tensor([window], device=model.device)
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        for total, gradient in zip(sums.values(), gradients, strict=True):
            if gradient is not None:
                total.add_(gradient.float().square(), alpha=(len(window) - 1) / len(windows))
    for name, weight in weights.items():
        weight.requires_grad_(asked[name])
    model.train(training)
    return sums


def anchor_of(
    training: Mapping[str, Any], model: Any, tokenizer: Any, texts: Mapping[str, Path]
) -> Anchor | None:
    """Return what holds a model where it starts; None for a run without EWC.

    The model has its start weights: a resumed training comes by here before it loads others, and
    so has the same Fisher. ``texts`` has the file of each text by name. Raises StageError for one
    that can't be read.
    """
    ewc = training["ewc"]
    if ewc is None:
        return None
    path = texts[ewc["text"]]
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    windows = text_windows(path, tokenizer, min(WINDOW, positions or WINDOW), ewc["samples"])
    layers = adapted_layers(model)
    if layers:
        weights = {name: layer.get_base_layer().weight for name, layer in layers.items()}
        moved = {name: _delta(layer) for name, layer in layers.items()}
    else:
        weights = {name: w for name, w in model.named_parameters() if w.requires_grad}
        moved = {name: _difference(weight) for name, weight in weights.items()}
    return Anchor(fisher_diagonal(model, weights, windows), moved, ewc["lambda"])


def _delta(layer: Any) -> Callable[[], torch.Tensor]:
    return lambda: layer.get_delta_weight(layer.active_adapters[0])


def _difference(weight: torch.Tensor) -> Callable[[], torch.Tensor]:
    start = weight.detach().clone()
    return lambda: weight - start
