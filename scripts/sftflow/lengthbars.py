"""Counted lengths as the bars of a histogram, with what lies over a limit set apart.

Apart from lengths.py, so that a change to a picture makes no tokens stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sftflow.lengths import EDGES


def bars(bins: Sequence[Sequence[int]], most: int = 44) -> list[dict[str, int]]:
    """Return the bins as {from, to (not included), rows}, without gaps and ``most`` at most.

    Where there are more, neighbours are joined, always from the same edges.
    """
    if not bins:
        return []
    rows = dict(bins)
    first, last = EDGES.index(bins[0][0]), EDGES.index(bins[-1][0])
    join = -(-(last + 1 - first) // most)
    start = first - first % join
    return [
        {
            "from": EDGES[i],
            "to": EDGES[i + join],
            "rows": sum(rows.get(EDGES[j], 0) for j in range(i, i + join)),
        }
        for i in range(start, last + 1, join)
    ]


def marked(rows: Sequence[dict[str, int]], limit: int | None) -> list[dict[str, Any]]:
    """Return bars with their part, "kept" or "over" the limit, and ``none``: 0, where they begin.

    The bar that holds the limit is split there, at one height: where in it its texts lie is not
    known, and the page tells the exact number over the limit.
    """
    parts: list[dict[str, Any]] = []
    for row in rows:
        low, high, n = row["from"], row["to"], row["rows"]
        if limit is None or high <= limit + 1 or low > limit or n == 0:
            part = "over" if limit is not None and low > limit else "kept"
            parts.append({**row, "part": part, "none": 0})
        else:
            parts.append({**row, "to": limit, "part": "kept", "none": 0})
            parts.append({**row, "from": limit, "part": "over", "none": 0})
    return parts
