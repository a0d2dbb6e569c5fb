"""Statistics of timed requests: quantiles and throughput of those that belong together.

A timed request is a mapping with ``prompt_tokens``, ``output_tokens``, ``concurrency`` and, in
milliseconds, ``ttft_ms``, ``tpot_ms`` (None for one output token), ``e2e_ms`` and ``itl_ms``, the
list of the gaps between its chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TIMES = ("ttft_ms", "tpot_ms", "e2e_ms")
QUANTILES = {"p50": 50, "p95": 95, "p99": 99}

Timed = Mapping[str, Any]


def tpot_ms(ttft_ms: float, e2e_ms: float, output_tokens: int) -> float | None:
    """Return the time per further token, (E2E - TTFT) / (n - 1); None for n = 1."""
    return None if output_tokens < 2 else (e2e_ms - ttft_ms) / (output_tokens - 1)


def quantiles(values: Sequence[float | None]) -> dict[str, float | None]:
    """Return mean, p50, p95 and p99 (linear between order statistics); None without values."""
    known = [v for v in values if v is not None]
    if not known:
        return dict.fromkeys(("mean", *QUANTILES))
    return {
        "mean": float(np.mean(known)),
        **{name: float(np.percentile(known, q)) for name, q in QUANTILES.items()},
    }


def drift(values: Sequence[float]) -> float | None:
    """Return |median of the last third - median of the first| over the median of all.

    None for fewer than 6 values. A cell that is still warming up, or that other work disturbs,
    shows it here.
    """
    third = len(values) // 3
    if third < 2:
        return None
    change = abs(float(np.median(values[-third:])) - float(np.median(values[:third])))
    return change / float(np.median(values))


def streamed(rows: Sequence[Timed]) -> float | None:
    """Return the share of tokens that arrived by themselves; None for one-token answers.

    A server whose engine is faster than its web part hands tokens over in bursts: the first
    one late, the others at once. TTFT and TPOT then tell of the bursts, E2E stays what it is.
    """
    if rows[0]["output_tokens"] < 2:
        return None
    return sum(row["arrivals"] for row in rows) / sum(row["output_tokens"] for row in rows)


def cell_figures(rows: Sequence[Timed], wall_s: float) -> dict[str, Any]:
    """Return the figures of one cell from its requests in the order they were sent.

    ``wall_s`` is the time from sending the first to the end of the last. Tokens per second
    are output tokens of the whole cell, requests under way at once taken together.
    """
    return {
        **figures(rows, wall_s),
        "drift": drift([row["e2e_ms"] for row in rows]),
        "streamed": streamed(rows),
    }


def figures(rows: Sequence[Timed], wall_s: float) -> dict[str, Any]:
    """Return quantiles of the times and the throughput of requests done in ``wall_s`` seconds.

    ``itl_ms`` is over all gaps of all requests together, as ``vllm bench serve`` has it.
    """
    gaps = [gap for row in rows for gap in row["itl_ms"]]
    return {
        "requests": len(rows),
        **{time: quantiles([row[time] for row in rows]) for time in TIMES},
        "itl_ms": quantiles(gaps),
        "tokens_per_s": sum(row["output_tokens"] for row in rows) / wall_s,
        "requests_per_s": len(rows) / wall_s,
        "wall_s": wall_s,
    }
