"""Requests that come by themselves, at a mean rate, whether or not others have been answered.

A closed loop of n requests at once sends the next one when one is done, so a slow server is
asked less. Users do not wait for each other: in an open loop requests queue up once they come
faster than they are served (Schroeder, Wierman and Harchol-Balter, Open Versus Closed: A
Cautionary Tale, NSDI 2006).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sftflow.latency import Cell, Planned, Target, timed_request
from sftflow.timings import figures, quantiles

if TYPE_CHECKING:
    import aiohttp

LEAD_S = 0.05  # from making the tasks to the first request
GROWING = 2.0  # times the first third's TTFT that the last third's takes in a growing queue


def arrival_times(rate_per_s: float, count: int, rng: np.random.Generator) -> list[float]:
    """Return when each of ``count`` requests is due, in seconds, ascending.

    Arrivals of a Poisson process of which ``count`` fall into ``count / rate_per_s`` seconds: given
    their number they are uniform (Ross, Introduction to Probability Models, section 5.3), so the
    gaps are as random as they should be and the rate is exactly the one asked for.
    """
    return np.sort(rng.uniform(0, count / rate_per_s, size=count)).tolist()


def mixed_cells(
    prompt_tokens: Sequence[int],
    output_tokens: Sequence[int],
    count: int,
    rng: np.random.Generator,
) -> list[Cell]:
    """Return lengths for ``count`` requests: each drawn from those of the grid, all alike."""
    prompts, outputs = (rng.choice(lengths, count) for lengths in (prompt_tokens, output_tokens))
    return [Cell(p, o, 0) for p, o in zip(prompts.tolist(), outputs.tolist(), strict=True)]


async def open_loop(
    session: aiohttp.ClientSession,
    server: Target,
    planned: Sequence[Planned],
    due_s: Sequence[float],
) -> list[dict[str, Any]]:
    """Send each request when it is due, and return their rows in this order.

    ``due_s`` is ascending. In a row, ``due_s`` is by the clock of ``start_s``, and ``late_ms`` is
    how much later the request was really sent, which is the client's fault: times count from
    the sending.
    """
    begin_s = time.perf_counter() + LEAD_S
    tasks = []
    for request, after_s in zip(planned, due_s, strict=True):
        await asyncio.sleep(max(0.0, begin_s + after_s - time.perf_counter()))
        tasks.append(asyncio.create_task(timed_request(session, server, request)))
    rows = await asyncio.gather(*tasks)
    return [
        {**row, "due_s": begin_s + after_s, "late_ms": 1000 * (row["start_s"] - begin_s - after_s)}
        for row, after_s in zip(rows, due_s, strict=True)
    ]


def in_flight(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return how many requests were under way, the mean over time and the most at once."""
    changes = [(row["start_s"], 1) for row in rows]
    changes += [(row["start_s"] + row["e2e_ms"] / 1000, -1) for row in rows]
    now = most = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    spent_s = sum(row["e2e_ms"] for row in rows) / 1000
    return {"mean": spent_s / _wall_s(rows), "max": most}


def growth(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the median TTFT of the last third over that of the first; None for under 6 rows."""
    third = len(rows) // 3
    if third < 2:
        return None
    first, last = (
        float(np.median([row["ttft_ms"] for row in some])) for some in (rows[:third], rows[-third:])
    )
    return last / first


def _wall_s(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds from when the first was due to the end of the last."""
    end_s = max(row["start_s"] + row["e2e_ms"] / 1000 for row in rows)
    return end_s - min(row["due_s"] for row in rows)


def rate_figures(rows: Sequence[Mapping[str, Any]], rate_per_s: float) -> dict[str, Any]:
    """Return the figures of one rate from its requests in the order in which they were due.

    ``falls_behind`` says that the queue was still growing: the figures are then those of a load
    that the server can't carry, and would be worse had it gone on for longer.
    """
    grown = growth(rows)
    return {
        "rate_per_s": rate_per_s,
        **figures(rows, _wall_s(rows)),
        "late_ms": quantiles([row["late_ms"] for row in rows]),
        "in_flight": in_flight(rows),
        "ttft_growth": grown,
        "falls_behind": None if grown is None else grown > GROWING,
    }
