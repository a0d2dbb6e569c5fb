"""Measure how long a served model takes over a grid of prompt, answer and concurrency.

reads   server.json of a running server, and the model folder (its tokenizer)
writes  latency.json: figures per cell, the fit ``time = b + k x``, settings, hardware, load
        latency_requests.parquet: one row per measured request

The server is reserved meanwhile, and its own count of requests proves that nobody else used
it. A failed request fails the stage: it must not vanish from a mean. Definitions: see
sftflow/latency.py and sftflow/timings.py. Times are a measurement, so no manifest is written.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from itertools import product
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from sftflow import hardware
from sftflow.endpoint import ask
from sftflow.latency import (
    Cell,
    Planned,
    client_session,
    closed_loop,
    parse_metrics,
    plan,
    random_prompts,
    server_view,
)
from sftflow.manifests import write_json
from sftflow.records import write_table
from sftflow.serving import Server, served
from sftflow.stage import Progress, StageError, console, run_stage, stage_parser
from sftflow.timings import cell_figures, fits

SCHEMA = 1
SETTLED = 0.2  # two windows' medians differ by no more than this share
STREAMED = 0.5  # share of tokens that should arrive one by one
STEADY = 0.25  # the same within a cell, beyond which it is marked

REQUESTS = pa.schema(
    [
        ("cell", pa.int32()),  # place in latency.json's list of cells
        ("prompt_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("concurrency", pa.int32()),
        ("start_s", pa.float64()),  # since the first measured request was sent
        ("ttft_ms", pa.float64()),
        ("tpot_ms", pa.float64()),  # null for one output token
        ("e2e_ms", pa.float64()),
        ("arrivals", pa.int32()),  # moments at which tokens came; fewer than tokens: bursts
        ("ok", pa.bool_()),
        ("error", pa.string()),
    ]
)

logger = logging.getLogger("sftflow")


def grid(spec: dict[str, Any]) -> list[Cell]:
    """Return the cells in the order of the config."""
    return [
        Cell(p, o, c)
        for c, p, o in product(spec["concurrency"], spec["prompt_tokens"], spec["output_tokens"])
    ]


def check_grid(spec: dict[str, Any], cells: Sequence[Cell], max_model_len: int) -> None:
    """Raise StageError for a grid that the server or the number of requests can't carry."""
    longest = max(cell.prompt_tokens + cell.output_tokens for cell in cells)
    if longest > max_model_len:
        raise StageError(
            f"latency: the longest prompt and answer make {longest} tokens, the server takes "
            f"{max_model_len}; lower latency.prompt_tokens or raise serve.max_model_len"
        )
    most = max(spec["concurrency"])
    if spec["requests_per_cell"] < most:
        raise StageError(
            f"latency.requests_per_cell is {spec['requests_per_cell']}, fewer than "
            f"latency.concurrency {most}; raise it"
        )


def vocabulary(server: Server) -> list[int]:
    """Return the ids of ordinary tokens: special ones may be treated apart."""
    special = set(server.tokenizer.all_special_ids) | set(server.tokenizer.added_tokens_decoder)
    return [i for i in range(len(server.tokenizer)) if i not in special]


def raise_failed(rows: Sequence[dict[str, Any]], cell: Cell) -> None:
    """Raise StageError if any request failed."""
    failed = [row for row in rows if not row["ok"]]
    if failed:
        raise StageError(
            f"latency: {len(failed)} of {len(rows)} requests failed in {cell}, the first with: "
            f"{failed[0]['error']}"
        )


class Measurement:
    """One run over the grid: the server, its client and the requests still to be planned."""

    def __init__(self, server: Server, spec: dict[str, Any], session: Any) -> None:
        """Seed the prompts."""
        self.server, self.spec, self.session = server, spec, session
        self.ids = vocabulary(server)
        self.rng = np.random.default_rng(spec["seed"])

    def requests(self, cell: Cell, count: int) -> list[Planned]:
        """Return new requests for a cell."""
        prompts = random_prompts(count, cell.prompt_tokens, self.ids, self.rng)
        return plan(self.server, cell, prompts, self.spec["seed"])

    async def run(self, cell: Cell, count: int) -> list[dict[str, Any]]:
        """Send ``count`` requests of a cell; raise StageError if one fails."""
        rows = await closed_loop(
            self.session, self.server, self.requests(cell, count), cell.concurrency
        )
        raise_failed(rows, cell)
        return rows

    async def warm_up(self, cells: Sequence[Cell]) -> dict[str, Any]:
        """Send unmeasured requests until the medians of two windows agree.

        First the largest cell at every concurrency, which opens the connections and touches
        all memory; then windows of a middling cell, ``warmup_requests`` at most.
        """
        for concurrency in sorted({cell.concurrency for cell in cells}):
            most = max(cells, key=lambda c: (c.prompt_tokens, c.output_tokens))
            await self.run(Cell(most.prompt_tokens, most.output_tokens, concurrency), concurrency)
        alone = Cell(median_low(cells, "prompt_tokens"), median_low(cells, "output_tokens"), 1)
        size = max(2, self.spec["warmup_requests"] // 4)
        medians: list[float] = []
        settled = False
        while not settled and (len(medians) + 1) * size <= self.spec["warmup_requests"]:
            medians.append(median(row["e2e_ms"] for row in await self.run(alone, size)))
            settled = len(medians) > 1 and abs(medians[-1] / medians[-2] - 1) <= SETTLED
        if not settled:
            console().say("times have not settled in latency.warmup_requests requests")
        return {
            "requests": len(medians) * size,
            "window": size,
            "medians_e2e_ms": medians,
            "settled": settled,
        }

    async def measure(self, cells: Sequence[Cell]) -> tuple[list[dict], list[dict]]:
        """Return the figures of each cell and the rows of all requests.

        The cells are visited in a seeded random order, so that a machine that gets slower in
        the meantime does not look like a longer prompt.
        """
        count = self.spec["requests_per_cell"]
        progress = Progress(len(cells) * count, "requests")
        figures: dict[int, dict[str, Any]] = {}
        rows: list[dict[str, Any]] = []
        origin_s = time.perf_counter()
        for i in self.rng.permutation(len(cells)).tolist():
            cell = cells[i]
            planned = self.requests(cell, count)
            start_s = time.perf_counter()
            sent = await closed_loop(self.session, self.server, planned, cell.concurrency)
            wall_s = time.perf_counter() - start_s
            raise_failed(sent, cell)
            place = {"cell": i, **vars(cell)}
            sent = [{**row, **place, "start_s": row["start_s"] - origin_s} for row in sent]
            figures[i] = {**vars(cell), **cell_figures(sent, wall_s)}
            rows += sent
            progress.add(count)
        return [figures[i] for i in range(len(cells))], rows


def median_low(cells: Sequence[Cell], key: str) -> int:
    """Return the lower median of a cell's property over the grid."""
    values = sorted({getattr(cell, key) for cell in cells})
    return values[(len(values) - 1) // 2]


async def run_grid(server: Server, spec: dict[str, Any]) -> tuple[dict[str, Any], list[dict]]:
    """Warm up, measure, and return latency.json's content and the rows of all requests."""
    cells = grid(spec)
    check_grid(spec, cells, server.max_model_len)
    async with client_session(server, max(spec["concurrency"])) as session:
        measurement = Measurement(server, spec, session)
        warm = await measurement.warm_up(cells)
        load = [hardware.load_average()]
        before = counters(server)
        figures, rows = await measurement.measure(cells)
        seen = server_view(before, counters(server))
        load.append(hardware.load_average())
    check_seen(seen, len(rows))
    found = fits(rows)
    machine = hardware.machine()
    setup = {
        "grid": {k: v for k, v in spec.items() if k not in ("model", "serve")},
        "server": {**server.settings, "max_model_len": server.max_model_len},
        "machine": machine,
        "load_average": {"before": load[0], "after": load[1]},
    }
    latency = {
        "schema": SCHEMA,
        "model": spec["model"],
        "setup": setup,
        "warmup": warm,
        "cells": figures,
        "fit": {"concurrency": found[0]["concurrency"], **found[0]["answer"]},
        "fits": found,
        "server_view": seen,
        "warnings": warnings(figures, warm, load, machine["cores"]),
    }
    return latency, rows


def counters(server: Server) -> dict[str, float]:
    """Return the server's own counters."""
    return parse_metrics(ask(server.endpoint, "/metrics").decode())


def check_seen(seen: dict[str, Any], sent: int) -> None:
    """Raise StageError if the server counted other requests, or answered from a cache."""
    if seen["requests"] != sent:
        raise StageError(
            f"latency: {sent} requests were sent, the server counted {seen['requests']}: somebody "
            "else used it meanwhile; run again"
        )
    if seen["prefix_cache_hits"]:
        raise StageError(
            "latency: the server answered from its prefix cache; take the option that turns it "
            "on out of serve.extra_args"
        )


def warnings(
    figures: Sequence[dict[str, Any]], warm: dict[str, Any], load: list[list[float]], cores: int
) -> list[str]:
    """Return what a reader of the figures should know."""
    said = []
    if not warm["settled"]:
        said.append("times had not settled when the measurement began")
    if max(one[0] for one in load) > cores + 1:
        said.append(
            f"the machine was busy: load average {load[0][0]} and {load[1][0]}, {cores} cores"
        )
    drifting = sum((cell["drift"] or 0) > STEADY for cell in figures)
    if drifting:
        said.append(f"{drifting} of {len(figures)} cells drifted by more than {STEADY:.0%}")
    bursts = sum((cell["streamed"] or 1) < STREAMED for cell in figures)
    if bursts:
        said.append(
            f"in {bursts} of {len(figures)} cells most tokens came in bursts: TTFT is late there "
            "and TPOT short, end-to-end times hold"
        )
    return said


def main(argv: list[str]) -> None:
    """Reserve the server, measure, write."""
    args = stage_parser(__doc__, "endpoint", "model", "latency", "requests").parse_args(argv)
    with served(args.endpoint, args.model, exclusive=True) as server:
        latency, rows = asyncio.run(run_grid(server, args.spec))
    write_table(args.requests, rows, REQUESTS)
    write_json(args.latency, latency)
    fit = latency["fit"]
    console().say(
        f"{len(rows)} requests, b = {fit['b_ms']['value']:.1f} ms, "
        f"k = {fit['k_ms_per_token']['value']:.2f} ms/token"
        if fit["r_squared"] is not None
        else f"{len(rows)} requests"
    )


if __name__ == "__main__":
    run_stage(main)
