"""What the page says of a run's memory: its peak beside the estimate that was made beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftflow.measured import read_object
from sftflow.peakmemory import KEPT

PARTS = ("weights", "gradients", "optimizer", "activations", "head", "other")


def size(number: int) -> str:
    """Return bytes as a person reads them."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def kept_memory(folder: Path) -> dict[str, Any] | None:
    """Return what a training used; None where that is not known."""
    return read_object(folder / KEPT) if (folder / KEPT).exists() else None


def memory_told(memory: Mapping[str, Any] | None) -> str | None:
    """Return a run's peak and estimate in a sentence; None if neither is known.

    ``memory``: estimate, longest_batch, peak_bytes, each may be null.
    """
    memory = memory or {}
    peak, guess, longest = (memory.get(k) for k in ("peak_bytes", "estimate", "longest_batch"))
    said = []
    if peak is not None:
        batch = f", with {longest['tokens']:,} tokens in the longest batch" if longest else ""
        said.append(f"{size(peak)} of memory at the peak of the training{batch}")
    if guess is not None:
        parts = ", ".join(f"{part} {size(guess[part])}" for part in PARTS if guess[part])
        tokens = guess["rows"] * guess["length"]
        said.append(f"at most {size(guess['peak'])} estimated for {tokens:,} tokens ({parts})")
    return f"{'; '.join(said)}." if said else None
