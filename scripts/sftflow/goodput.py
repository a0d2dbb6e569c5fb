"""Goodput: the requests that were answered within given limits.

A request is good if its TTFT, TPOT and whole time all are within their limits; goodput is good
requests per second (Zhong et al., DistServe, arXiv:2401.09670). Of several arrival rates, the
highest counts at which a given share of requests (``attainment``) is good.

It is computed from the requests that were kept, not by the stage that measures: another limit
needs no other measurement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.stage import StageError
from sftflow.timings import TIMES

Limits = Mapping[str, float]


def limits(slo: Mapping[str, Any]) -> dict[str, float]:
    """Return the limits that are set, by time."""
    return {time: slo[time] for time in TIMES if slo.get(time) is not None}


def is_good(request: Mapping[str, Any], bounds: Limits) -> bool:
    """Return whether a request is within all limits; a time that it does not have is."""
    return all(request[time] is None or request[time] <= bound for time, bound in bounds.items())


def goodput(requests: Sequence[Mapping[str, Any]], wall_s: float, bounds: Limits) -> dict[str, Any]:
    """Return the share of good requests with its standard error, and how many came per second."""
    n, good = len(requests), sum(is_good(request, bounds) for request in requests)
    share = good / n
    error = math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else None
    return {"share": share, "stderr": error, "n": n, "requests_per_s": good / wall_s}


def model_goodput(
    folder: Path, latency: Mapping[str, Any], slo: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the goodput of each cell and rate of latency.json, in its order.

    ``highest_rate_per_s`` is the highest rate up to which ``attainment`` holds, None if there is
    none. Returns None if no limit is set. Reads latency_requests.parquet in ``folder``.
    """
    bounds = limits(slo)
    if not bounds:
        return None
    kept = list(_requests(folder / "latency_requests.parquet", bounds))
    rates = latency.get("rates", [])
    cells = [
        goodput([r for r in kept if r["cell"] == i], cell["wall_s"], bounds)
        for i, cell in enumerate(latency["cells"])
    ]
    by_rate = [
        goodput([r for r in kept if r["rate_per_s"] == rate["rate_per_s"]], rate["wall_s"], bounds)
        for rate in rates
    ]
    return {
        "limits": bounds,
        "cells": cells,
        "rates": by_rate,
        "highest_rate_per_s": highest_rate(rates, by_rate, slo["attainment"]),
    }


def _requests(path: Path, bounds: Limits) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["cell", "rate_per_s", *bounds])
    except (OSError, pa.ArrowInvalid) as error:
        raise StageError(f"{path} can't be read ({error}); delete it and rerun") from None
    yield from table.to_pylist()


def highest_rate(
    rates: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], attainment: float
) -> float | None:
    """Return the highest rate up to which the share of good requests is ``attainment`` or more."""
    highest = None
    for rate, share in sorted(
        (rate["rate_per_s"], one["share"]) for rate, one in zip(rates, found, strict=True)
    ):
        if share < attainment:
            break
        highest = rate
    return highest
