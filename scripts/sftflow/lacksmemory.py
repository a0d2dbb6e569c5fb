"""What a training says that ran out of memory: where, how much was in use, what would fit."""

from __future__ import annotations

from typing import Any

from sftflow.methods import METHODS

GIB = 2**30
# How allocators say it: torch's of a CPU and of a GPU, and libraries of CUDA.
SIGNS = ("defaultcpuallocator", "out of memory", "alloc_failed", "can't allocate memory")


def is_lack_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in SIGNS)


def remedies(settings: Any, method: str) -> str:
    """Name what takes less memory, the mildest first, from the settings (TrainingArguments)."""
    batch, steps = settings.per_device_train_batch_size, settings.gradient_accumulation_steps
    found = []
    if batch > 1:
        found.append(
            f"set training.per_device_train_batch_size to {batch // 2} and "
            f"gradient_accumulation_steps to {-(-batch * steps // (batch // 2))}"
        )
    if not settings.gradient_checkpointing and method != "prefix":
        found.append("set training.gradient_checkpointing to true")
    found.append("lower max_length")
    if METHODS[method].plain:
        found.append("use method lora")
    if method != "qlora":
        found.append("use method qlora on a GPU")
    return f"{', '.join(found)}, or take a device with more memory"


def lack_of_memory(doing: str, settings: Any, method: str, in_use: int, size: int) -> str:
    """Return the sentence: ``doing`` is what was under way, ``in_use`` and ``size`` are bytes."""
    return (
        f"memory ran out at {doing}: {in_use / GIB:.1f} of {size / GIB:.1f} GiB were in use; "
        f"{remedies(settings, method)}"
    )
