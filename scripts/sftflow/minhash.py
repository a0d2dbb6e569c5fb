"""MinHash signatures and the bands by which texts that are much alike meet (LSH).

Of n hash functions each takes its smallest value over a set; two sets agree in it with the
probability of their Jaccard similarity (Broder 1997). Sets that agree in all r values of one of
b bands are candidates: 1 - (1 - s**r)**b of the pairs of similarity s (Indyk and Motwani 1998).
The signatures are rensa's; they are the same whatever the number of cores.
"""

from __future__ import annotations

from itertools import chain

import numpy as np

from sftflow.shingles import mixed

MISSED = 0.002  # of the pairs at the threshold itself, at most; of closer ones far fewer
SEED = 1


def bands(threshold: float, num_perm: int) -> tuple[int, int]:
    """Return (b, r): the longest bands that miss no more than MISSED of pairs at ``threshold``.

    b * r is at most ``num_perm``. Where even bands of one value miss more, it is those.
    """
    for r in range(num_perm, 1, -1):
        b = num_perm // r
        if (1 - threshold**r) ** b <= MISSED:
            return b, r
    return num_perm, 1


def band_keys(
    flat: np.ndarray, offsets: np.ndarray, shape: tuple[int, int], seed: int = SEED
) -> np.ndarray:
    """Return the keys (sets, b) uint32 of sets given as flat uint32 and offsets.

    Keys of band i say something only beside other keys of band i. ``shape`` is (b, r).
    """
    import rensa  # only for those who look for near duplicates

    b, r = shape
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
        mixed(flat.astype(np.uint64)), offsets.astype(np.uint64), b * r, seed
    )
    rows = len(offsets) - 1
    values = np.fromiter(chain.from_iterable(matrix.to_rows()), np.uint64, rows * b * r)
    keys = np.zeros((rows, b), dtype=np.uint64)
    for column in values.reshape(rows, b, r).transpose(2, 0, 1):
        keys = mixed(keys + column)
    return (keys >> np.uint64(32)).astype(np.uint32)
