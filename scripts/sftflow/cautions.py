"""What a reader of latency figures should know about how they came to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sftflow.clientcost import NOTED

STREAMED = 0.5  # share of tokens that should arrive one by one
STEADY = 0.25  # drift within a cell, beyond which it is marked
LATE = 0.05  # share of the median TTFT by which requests may be sent late
STILL_S = 2.0  # for which no busy machine keeps a client from running

Figures = Sequence[Mapping[str, Any]]


def cautions(latency: Mapping[str, Any]) -> list[str]:
    """Return a sentence, without its full stop, for each thing that is not as it should be."""
    setup, said = latency["setup"], []
    load = [setup["load_average"][when] for when in ("before", "after")]
    cores = setup["machine"]["cores"]
    if not latency["warmup"]["settled"]:
        said.append("times had not settled when the measurement began")
    if max(one[0] for one in load) > cores + 1:
        said.append(
            f"the machine was busy: load average {load[0][0]} and {load[1][0]}, {cores} cores"
        )
    still_s = latency["client_stood_still_s"]
    if still_s > STILL_S:
        said.append(
            f"the client stood still for {still_s:g} s (stopped, or without a processor), which is "
            "in the times of its requests then: measure again"
        )
    return [
        *said,
        *_of_cells(latency["cells"]),
        *_of_client(latency["cells"]),
        *_of_rates(latency["rates"]),
        *_of_fits(latency["fits"]),
    ]


def _of_cells(cells: Figures) -> list[str]:
    said = []
    drifting = sum((cell["drift"] or 0) > STEADY for cell in cells)
    if drifting:
        said.append(f"{drifting} of {len(cells)} cells drifted by more than {STEADY:.0%}")
    bursts = sum((cell["streamed"] or 1) < STREAMED for cell in cells)
    if bursts:
        said.append(
            f"in {bursts} of {len(cells)} cells most tokens came in bursts: TTFT is late there "
            "and TPOT short, end-to-end times hold"
        )
    return said


def _of_client(cells: Figures) -> list[str]:
    said = []
    for time, name in (("ttft", "TTFT"), ("tpot", "TPOT")):
        shares = [cell["client_share"][time] or 0 for cell in cells]
        over = sum(share > NOTED for share in shares)
        if over:
            said.append(
                f"in {over} of {len(cells)} cells the client itself may account for more than "
                f"{NOTED:.0%} of {name}, at most for {max(shares):.0%}"
            )
    return said


def _of_rates(rates: Figures) -> list[str]:
    behind = [f"{r['rate_per_s']:g}" for r in rates if r["falls_behind"]]
    late = [
        f"{r['rate_per_s']:g}" for r in rates if r["late_ms"]["p95"] > LATE * r["ttft_ms"]["p50"]
    ]
    said = []
    if behind:
        said.append(
            f"at {', '.join(behind)} requests/s the queue was still growing at the end: the server "
            "can't carry that, and times would be longer had it gone on"
        )
    if late:
        said.append(f"at {', '.join(late)} requests/s the client sent some requests late")
    return said


def _of_fits(fits: Figures) -> list[str]:
    return [
        f"the plane a + c p + k x does not hold at concurrency {fit['concurrency']}: a cell lies "
        f"{fit['plane']['worst_share']:.0%} from it (lack of fit, p = "
        f"{fit['plane']['lack_of_fit']['p_value']:.1g}); read its grid instead of b and k"
        for fit in fits
        if fit["plane"]["holds"] is False
    ]
