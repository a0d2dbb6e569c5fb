"""What a training needs to go on exactly, where PEFT saves only what an inference needs.

Of P-tuning and projected prefixes PEFT saves the embeddings without the network that makes them,
of AdaLoRA the ranks that are left without the importance of all. So each checkpoint of these
methods holds every trained weight, and AdaLoRA's moving averages, in files of their own.

A whole model is saved under the names of its repository, which a class of transformers may not
have: experts that lie apart in a file are stacked in memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from sftflow.manifests import write_text

WEIGHTS, IMPORTANCE, PATTERN = "trained.safetensors", "importance.safetensors", "pattern.json"
AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # of peft's RankAllocator


def _trained(model: Any) -> dict[str, torch.Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _allocator(model: Any) -> Any:
    """Return AdaLoRA's rank allocator, None for another method."""
    return getattr(getattr(model, "base_model", None), "rankallocator", None)


def save_state(model: Any, folder: Path) -> None:
    """Write every trained weight of ``model`` to a checkpoint."""
    weights = {name: p.detach().contiguous().cpu() for name, p in _trained(model).items()}
    safetensors.torch.save_file(weights, folder / WEIGHTS)
    allocator = _allocator(model)
    if allocator is None:
        return
    averages = {
        f"{kind} {name}": value.contiguous().cpu()
        for kind in AVERAGES
        for name, value in getattr(allocator, kind).items()
    }
    safetensors.torch.save_file(averages, folder / IMPORTANCE)
    write_text(folder / PATTERN, json.dumps(allocator.peft_config.rank_pattern) + "\n")


def has_state(folder: Path) -> bool:
    """Return whether save_state wrote into this checkpoint."""
    return (folder / WEIGHTS).is_file()


def load_state(model: Any, folder: Path) -> None:
    """Put back what save_state wrote."""
    saved = safetensors.torch.load_file(folder / WEIGHTS)
    with torch.no_grad():
        for name, parameter in _trained(model).items():
            parameter.copy_(saved[name])
    allocator = _allocator(model)
    if allocator is None:
        return
    allocator.reset_ipt()
    for key, value in safetensors.torch.load_file(folder / IMPORTANCE).items():
        kind, name = key.split(" ", 1)
        getattr(allocator, kind)[name] = value.to(model.device)
    pattern = json.loads((folder / PATTERN).read_text(encoding="utf-8"))
    allocator.peft_config.rank_pattern = pattern


def load_model(model: Any, folder: Path) -> None:
    """Put back every weight of a whole model, as its class reads it from a checkpoint.

    transformers' Trainer loads what has the same name in the file and in memory and goes on with
    the rest as it is: experts stayed those of the start, or of the last step instead of the best.
    """
    saved = type(model).from_pretrained(
        folder, dtype=model.dtype, local_files_only=True, use_safetensors=True
    )
    model.load_state_dict(saved.state_dict())
