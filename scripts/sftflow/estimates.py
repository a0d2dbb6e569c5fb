"""A figure with its standard error and the number of items behind it: {value, stderr, n}.

Where there is no data the value is null, never 0; where the spread can't be known (one item,
or a figure that is no mean) the standard error is null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

Estimate = dict[str, Any]  # value: float | None, stderr: float | None, n: int


def estimate(value: float | None, stderr: float | None, n: int, **more: Any) -> Estimate:
    """Return a figure as it stands in result files."""
    return {"value": value, "stderr": stderr, "n": n, **more}


def mean_estimate(values: Iterable[float]) -> Estimate:
    """Return the mean and its standard error s / sqrt(n), s with n - 1 degrees of freedom.

    For zeros and ones that is sqrt(p (1 - p) / (n - 1)). The order of the values is no matter.
    """
    known = [float(v) for v in values]
    n = len(known)
    if n == 0:
        return estimate(None, None, 0)
    mean = math.fsum(known) / n
    if n == 1:
        return estimate(mean, None, 1)
    variance = math.fsum((v - mean) ** 2 for v in known) / (n - 1)
    return estimate(mean, math.sqrt(variance / n), n)


def ratio_estimate(sums: Sequence[float], counts: Sequence[int]) -> Estimate:
    """Return the mean per item over clusters, its standard error and the number of items.

    A cluster (a row, a stretch of text) has the sum s of its items and their count c. Items of
    one cluster are alike, so the clusters are what counts as independent: with m = sum(s) /
    sum(c), var(m) = k / (k - 1) sum((s - m c)^2) / sum(c)^2 (Cochran, Sampling Techniques,
    3rd ed., eq. 6.13, for k clusters).
    """
    items = sum(counts)
    clusters = [(s, c) for s, c in zip(sums, counts, strict=True) if c]
    k = len(clusters)
    if items == 0:
        return estimate(None, None, 0)
    mean = math.fsum(s for s, _ in clusters) / items
    if k == 1:
        return estimate(mean, None, items)
    spread = math.fsum((s - mean * c) ** 2 for s, c in clusters)
    return estimate(mean, math.sqrt(k / (k - 1) * spread) / items, items)
