"""When a server has warmed up: its times have stopped changing by more than they scatter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LEAST = 0.05  # share of the median below which a difference is no trend
MOST = 0.2  # and above which it is one, however much the times scatter
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean, sqrt(pi / 2)
SIGMA = 1.4826  # a normal distribution's standard deviation over its median deviation


def tolerance(earlier: Sequence[float], later: Sequence[float]) -> float:
    """Return how far the medians of two windows may be apart by chance alone.

    Twice the standard error of the difference of two medians, from the median absolute deviation
    of both windows, which a single stall does not blow up; within bounds, for a few times tell
    little of their own scatter.
    """
    apart = np.concatenate([np.abs(np.asarray(w) - np.median(w)) for w in (earlier, later)])
    error = MEDIAN_ERROR * SIGMA * float(np.median(apart)) * (2 / len(earlier)) ** 0.5
    middle = float(np.median(earlier))
    return min(max(2 * error, LEAST * middle), MOST * middle)


def settled(windows: Sequence[Sequence[float]]) -> bool:
    """Return whether the medians of the last two windows agree within their noise."""
    if len(windows) < 2:
        return False
    earlier, later = windows[-2:]
    return abs(float(np.median(later)) - float(np.median(earlier))) <= tolerance(earlier, later)


def told(windows: Sequence[Sequence[float]], before: int) -> dict[str, Any]:
    """Return what was sent and left out of the figures, and why it ended there.

    ``before`` counts the requests that were sent before the windows.
    """
    done = settled(windows)
    bound = tolerance(*windows[-2:]) if len(windows) > 1 else None
    return {
        "requests": before + sum(len(window) for window in windows),
        "window": len(windows[0]) if windows else 0,
        "medians_e2e_ms": [float(np.median(window)) for window in windows],
        "tolerance_ms": bound,
        "settled": done,
        "why": "the medians of two windows in a row agree within their noise"
        if done
        else "latency.warmup_requests was reached",
    }
