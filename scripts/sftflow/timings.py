"""Statistics of timed requests: quantiles of a cell, and straight lines through cells.

A timed request is a mapping with ``prompt_tokens``, ``output_tokens``, ``concurrency`` and, in
milliseconds, ``ttft_ms``, ``tpot_ms`` (None for one output token) and ``e2e_ms``.
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
        "requests": len(rows),
        **{time: quantiles([row[time] for row in rows]) for time in TIMES},
        "tokens_per_s": sum(row["output_tokens"] for row in rows) / wall_s,
        "requests_per_s": len(rows) / wall_s,
        "wall_s": wall_s,
        "drift": drift([row["e2e_ms"] for row in rows]),
        "streamed": streamed(rows),
    }


def line(x: Sequence[float], y: Sequence[float], names: tuple[str, str]) -> dict[str, Any]:
    """Return the least-squares line through points, with 95 % confidence intervals.

    ``names`` are the keys of intercept and slope. The values are None where the points do not
    determine a line: fewer than three, or one x only.
    """
    if len(y) < 3 or len(set(x)) < 2:
        nothing = dict.fromkeys(("value", "low", "high", "stderr"))
        return {**dict.fromkeys(names, nothing), "r_squared": None, "n": len(y)}
    import statsmodels.api as sm

    fit = sm.OLS(np.asarray(y, float), sm.add_constant(np.asarray(x, float))).fit()
    interval = fit.conf_int(alpha=0.05)
    terms = {
        name: {
            "value": float(fit.params[i]),
            "low": float(interval[i][0]),
            "high": float(interval[i][1]),
            "stderr": float(fit.bse[i]),
        }
        for i, name in enumerate(names)
    }
    return {**terms, "r_squared": float(fit.rsquared), "n": len(y)}


def fits(rows: Sequence[Timed]) -> list[dict[str, Any]]:
    """Return, for each concurrency, the lines of the time to answer and of the first token.

    ``answer``: e2e = b + k x with x the number of generated tokens, so that k is the time per
    further token and b + k the time to the first one, over all prompt lengths of the grid.
    ``first_token``: ttft = a + c p with p the number of prompt tokens.
    """
    found = []
    for concurrency in sorted({row["concurrency"] for row in rows}):
        some = [row for row in rows if row["concurrency"] == concurrency]
        answer = line(
            [row["output_tokens"] for row in some],
            [row["e2e_ms"] for row in some],
            ("b_ms", "k_ms_per_token"),
        )
        first = line(
            [row["prompt_tokens"] for row in some],
            [row["ttft_ms"] for row in some],
            ("a_ms", "c_ms_per_token"),
        )
        found.append({"concurrency": concurrency, "answer": answer, "first_token": first})
    return found
