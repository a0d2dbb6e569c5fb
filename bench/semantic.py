"""How fast the exact search for semantic duplicates is, and what it holds in memory.

    python bench/semantic.py [ROWS ...]

Random vectors of 384 numbers stand for the texts, so none resembles another and each is compared
with all before it: the slowest case. One thread, as clean_dataset has.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from sftflow.vectorindex import VectorIndex

DIMENSIONS = 384


def random_vectors(seed: int, dimensions: int):
    """Return a function that gives each text a random vector of length 1."""
    rng = np.random.default_rng(seed)

    def embed(texts: Sequence[str]) -> list[np.ndarray]:
        vectors = rng.standard_normal((len(texts), 1, dimensions), dtype=np.float32)
        return list(vectors / np.linalg.norm(vectors, axis=2, keepdims=True))

    return embed


def search(rows: int) -> None:
    """Print how long it takes to find that nothing resembles anything."""
    with (
        tempfile.TemporaryDirectory() as folder,
        VectorIndex(Path(folder), random_vectors(rows, DIMENSIONS), 0.95) as index,
    ):
        for row in range(rows):
            index.add([f"text {row}"])
        start_s = time.process_time()
        stay = sum(leader == row for row, (leader, _) in enumerate(index.leaders()))
        spent_s = time.process_time() - start_s
    sys.stdout.write(
        f"{rows:,} rows: {spent_s:.1f} s of one core, {rows / spent_s:,.0f} rows/s, {stay:,} stay\n"
    )


def memory(rows: int) -> None:
    """Print what the index holds for each row, beside what any number of rows takes."""
    with (
        tempfile.TemporaryDirectory() as folder,
        VectorIndex(Path(folder), random_vectors(rows, 2), 0.95) as index,
    ):
        index.add(["first"])
        tracemalloc.start()
        for row in range(rows):
            index.add([f"text {row}"])
        index._flush()
        held, _ = tracemalloc.get_traced_memory()
        sys.stdout.write(f"{held / rows:.0f} bytes in memory for each of {rows:,} rows\n")
        tracemalloc.stop()


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    for rows in [int(given) for given in sys.argv[1:]] or [20_000, 40_000]:
        search(rows)
    memory(200_000)
