"""What an optimizer keeps of the weights that a training moves: bytes, from the config alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sftflow.methods import METHODS
from sftflow.modelshape import Shape
from sftflow.optimizers import OPTIMIZERS

# Numbers of 8 bits share a scale of 32 bits in blocks of 256 (bitsandbytes 0.50,
# functional.py; block-wise quantisation is section 2.1 of arXiv:2110.02861).
EIGHT_BIT_BYTES = 1 + 4 / 256


def moment_bytes(shape: Shape, run: Mapping[str, Any], trained: int) -> int:
    """Return the bytes that a run's optimizer keeps on the device of ``trained`` numbers.

    Paged ones count as none: they leave the GPU for the machine's memory where it is short.
    """
    kind = OPTIMIZERS[run["training"]["optim"]]
    if kind.paged:
        return 0
    if kind.factored:
        return int(4 * trained * (1 / _narrow_side(shape, run) + 1 / shape.hidden))
    if kind.bits == 32:
        return 4 * kind.moments * trained
    embeddings = shape.vocabulary * shape.hidden if run["method"] == "full" else 0  # stay 32 bits
    inside = EIGHT_BIT_BYTES * (trained - embeddings)
    return int(kind.moments * (inside + 4 * embeddings))


def _narrow_side(shape: Shape, run: Mapping[str, Any]) -> int:
    """Return the shorter side of the trained matrices, 1 for vectors.

    Adafactor keeps a sum of squares per row and per column (arXiv:1804.04235, section 3).
    """
    if run["method"] in ("full", "last_n_layers"):
        return shape.hidden
    options = run.get(METHODS[run["method"]].options or "", {})
    sides = (options.get(key) for key in ("r", "init_r", "num_virtual_tokens"))
    return next((side for side in sides if side), 1)
