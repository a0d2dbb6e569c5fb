"""Lengths of many texts as counts: exact figures, and memory that follows the longest text.

A length is a number of characters, tokens or turns; ``counts`` maps a length to how many texts
have it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np

# Eight bins to each doubling, 9 % wide: fixed, so that two datasets can be laid over each other.
EDGES = sorted({0, *(math.ceil(2 ** (i / 8)) for i in range(8 * 40))})
QUANTILES = {"min": 0.0, "median": 0.5, "p95": 0.95, "max": 1.0}

Bins = list[list[int]]  # [lowest length of the bin, texts in it]; empty bins are left out


def binned(counts: Mapping[int, int]) -> Bins:
    """Return the counts in the bins of ``EDGES``, lowest first; they sum to the texts."""
    bins: dict[int, int] = {}
    for length, texts in counts.items():
        low = EDGES[bisect_right(EDGES, length) - 1]
        bins[low] = bins.get(low, 0) + texts
    return [[low, bins[low]] for low in sorted(bins)]


def quantiles(counts: Mapping[int, int]) -> dict[str, int | None]:
    """Return min, median, 95 % and max of the lengths; null where there is no text.

    A quantile is a length that occurs: the smallest one that this share of texts doesn't exceed.
    """
    if not counts:
        return dict.fromkeys(QUANTILES)
    lengths = np.array(sorted(counts))
    weights = np.array([counts[int(n)] for n in lengths])
    points = np.quantile(lengths, list(QUANTILES.values()), weights=weights, method="inverted_cdf")
    return dict(zip(QUANTILES, map(int, points), strict=True))


def summary(counts: Mapping[int, int]) -> dict[str, Any]:
    """Return number of texts, mean, quantiles and bins, fit for JSON."""
    texts = sum(counts.values())
    total = sum(length * n for length, n in counts.items())
    mean = round(total / texts, 1) if texts else None
    return {"texts": texts, "mean": mean, **quantiles(counts), "bins": binned(counts)}
