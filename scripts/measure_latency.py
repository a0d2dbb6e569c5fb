"""Measure how long a served model takes, over a grid and at rates at which requests arrive.

reads   server.json of a running server, and the model folder (its tokenizer)
writes  latency.json: figures per cell and per rate, fits, the client's own cost, what the server
        takes, settings, hardware, load
        latency_requests.parquet: one row per measured request

The server is reserved meanwhile, and its own count of requests proves that nobody else used
it. A failed request fails the stage: it must not vanish from a mean. Definitions: see
sftflow/latency.py, arrivals.py and fitting.py. Times are a measurement, so no manifest is written.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa

from sftflow import hardware, warmup
from sftflow.arrivals import arrival_times, mixed_cells, open_loop, rate_figures
from sftflow.cautions import cautions
from sftflow.clientcost import client_cost, client_share
from sftflow.fitting import fits
from sftflow.latency import Cell, Planned, client_session, closed_loop, plan, random_prompts
from sftflow.manifests import write_json
from sftflow.records import write_table
from sftflow.seats import seat
from sftflow.servercounts import check_seen, counters, footprint, server_view
from sftflow.serving import Server, served
from sftflow.stage import Progress, StageError, console, run_stage, stage_parser
from sftflow.standstill import Standstill
from sftflow.timings import cell_figures

SCHEMA = 1

REQUESTS = pa.schema(
    [
        ("cell", pa.int32()),  # place in latency.json's list of cells; null at a rate
        ("rate_per_s", pa.float64()),  # null in the grid
        ("prompt_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("concurrency", pa.int32()),  # null at a rate
        ("start_s", pa.float64()),  # since the first measured request was sent
        ("due_s", pa.float64()),  # by the same clock; null in the grid
        ("late_ms", pa.float64()),  # from when it was due to when it was sent
        ("ttft_ms", pa.float64()),
        ("tpot_ms", pa.float64()),  # null for one output token
        ("e2e_ms", pa.float64()),
        ("itl_ms", pa.list_(pa.float32())),  # gaps between chunks
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


def raise_failed(rows: Sequence[dict[str, Any]], where: object) -> None:
    """Raise StageError if any request failed."""
    failed = [row for row in rows if not row["ok"]]
    if failed:
        raise StageError(
            f"latency: {len(failed)} of {len(rows)} requests failed in {where}, the first with: "
            f"{failed[0]['error']}"
        )


def median_low(cells: Sequence[Cell], key: str) -> int:
    """Return the lower median of a cell's property over the grid."""
    values = sorted({getattr(cell, key) for cell in cells})
    return values[(len(values) - 1) // 2]


class Measurement:
    """One run: the server, its client, and the requests still to be planned."""

    def __init__(self, server: Server, spec: dict[str, Any], session: Any) -> None:
        """Seed the prompts."""
        self.server, self.spec, self.session = server, spec, session
        self.ids = vocabulary(server)
        self.rng = np.random.default_rng(spec["seed"])
        self.standstill = Standstill()
        total = len(grid(spec)) * spec["requests_per_cell"]
        total += len(spec["rates"]) * spec["requests_per_rate"]
        self.progress = Progress(total, "requests")

    def requests(self, cell: Cell, count: int) -> list[Planned]:
        """Return new requests for a cell."""
        prompts = random_prompts(count, cell.prompt_tokens, self.ids, self.rng)
        return plan(self.server, cell, prompts, self.spec["seed"])

    async def run(self, cell: Cell, count: int) -> list[dict[str, Any]]:
        """Send ``count`` requests of a cell; raise StageError if one fails."""
        planned = self.requests(cell, count)
        rows = await closed_loop(self.session, self.server, planned, cell.concurrency)
        raise_failed(rows, cell)
        return rows

    async def warm_up(self, cells: Sequence[Cell]) -> dict[str, Any]:
        """Send unmeasured requests until the medians of two windows agree.

        First the largest cell at every concurrency, which opens the connections and touches
        all memory; then windows of a middling cell, ``warmup_requests`` at most.
        """
        concurrencies = sorted({cell.concurrency for cell in cells})
        most = max(cells, key=lambda c: (c.prompt_tokens, c.output_tokens))
        for concurrency in concurrencies:
            await self.run(Cell(most.prompt_tokens, most.output_tokens, concurrency), concurrency)
        alone = Cell(median_low(cells, "prompt_tokens"), median_low(cells, "output_tokens"), 1)
        size = max(2, self.spec["warmup_requests"] // 4)
        most_windows = max(1, self.spec["warmup_requests"] // size)
        windows: list[list[float]] = []
        while not warmup.settled(windows) and len(windows) < most_windows:
            windows.append([row["e2e_ms"] for row in await self.run(alone, size)])
        told = warmup.told(windows, before=sum(concurrencies))
        if not told["settled"]:
            console().say("times have not settled in latency.warmup_requests requests")
        return told

    async def measure(self, cells: Sequence[Cell]) -> tuple[list[dict], list[dict]]:
        """Return the figures of each cell and the rows of all requests.

        The cells are visited in a seeded random order, so that a machine that gets slower in
        the meantime does not look like a longer prompt.
        """
        count = self.spec["requests_per_cell"]
        figures: dict[int, dict[str, Any]] = {}
        rows: list[dict[str, Any]] = []
        for i in self.rng.permutation(len(cells)).tolist():
            cell = cells[i]
            planned = self.requests(cell, count)
            start_s = time.perf_counter()
            async with self.standstill.watched():
                sent = await closed_loop(self.session, self.server, planned, cell.concurrency)
            wall_s = time.perf_counter() - start_s
            raise_failed(sent, cell)
            nothing = dict.fromkeys(("rate_per_s", "due_s", "late_ms"))
            sent = [{**row, **vars(cell), "cell": i, **nothing} for row in sent]
            figures[i] = {**vars(cell), **cell_figures(sent, wall_s)}
            rows += sent
            self.progress.add(count)
        return [figures[i] for i in range(len(cells))], rows

    async def arrive(self) -> tuple[list[dict], list[dict]]:
        """Return the figures of each rate and the rows of all requests.

        Every rate has the same lengths in the same order, and the same gaps but for their scale:
        what differs between two rates is the rate.
        """
        spec, count = self.spec, self.spec["requests_per_rate"]
        found, rows = [], []
        for rate in spec["rates"]:
            rng = np.random.default_rng(spec["seed"])
            due_s = arrival_times(rate, count, rng)
            cells = mixed_cells(spec["prompt_tokens"], spec["output_tokens"], count, rng)
            planned = [one for cell in cells for one in self.requests(cell, 1)]
            before = counters(self.server.endpoint)
            async with client_session(self.server, 0) as session, self.standstill.watched():
                sent = await open_loop(session, self.server, planned, due_s)
            raise_failed(sent, f"{rate:g} requests/s")
            seen = server_view(before, counters(self.server.endpoint))
            queued = {key: seen[key] for key in ("queue_mean_ms", "preemptions")}
            place = {"cell": None, "rate_per_s": rate, "concurrency": None}
            sent = [{**row, **place} for row in sent]
            found.append({**rate_figures(sent, rate), **queued})
            rows += sent
            self.progress.add(count)
        return found, rows


def since_first(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with their moments counted from the first one's sending."""
    first_s = min(row["start_s"] for row in rows)
    return [
        {**row, **{k: row[k] - first_s for k in ("start_s", "due_s") if row[k] is not None}}
        for row in rows
    ]


async def run_all(server: Server, spec: dict[str, Any]) -> tuple[dict[str, Any], list[dict]]:
    """Warm up, measure, and return latency.json's content and the rows of all requests."""
    cells = grid(spec)
    check_grid(spec, cells, server.max_model_len)
    async with client_session(server, max(spec["concurrency"])) as session:
        measurement = Measurement(server, spec, session)
        warm = await measurement.warm_up(cells)
        load = [hardware.load_average()]
        before = counters(server.endpoint)
        figures, rows = await measurement.measure(cells)
        rates, more = await measurement.arrive()
        seen = server_view(before, counters(server.endpoint))
        load.append(hardware.load_average())
    check_seen(seen, len(rows) + len(more))
    costs = await client_cost(cells, measurement.ids, measurement.rng)
    cost = {one["concurrency"]: one for one in costs}
    found = fits(rows)
    latency = {
        "schema": SCHEMA,
        "model": spec["model"],
        "setup": {
            "grid": {k: v for k, v in spec.items() if k not in ("model", "serve", "lora")},
            "server": {**server.settings, "max_model_len": server.max_model_len},
            "machine": hardware.machine(),
            "load_average": {"before": load[0], "after": load[1]},
        },
        "warmup": warm,
        "client": costs,
        "client_stood_still_s": round(measurement.standstill.longest_s, 1),
        "footprint": footprint(server.endpoint),
        "cells": [
            {**cell, "client_share": client_share(cost[cell["concurrency"]], cell)}
            for cell in figures
        ],
        "rates": rates,
        "fit": {"concurrency": found[0]["concurrency"], **found[0]["answer"]},
        "fits": found,
        "server_view": seen,
    }
    return {**latency, "warnings": cautions(latency)}, since_first([*rows, *more])


def main(argv: list[str]) -> None:
    """Reserve the server, measure, write."""
    args = stage_parser(__doc__, "endpoint", "model", "latency", "requests").parse_args(argv)
    name = args.spec["model"]
    with seat(args.endpoint), served(args.endpoint, args.model, name, exclusive=True) as server:
        latency, rows = asyncio.run(run_all(server, args.spec))
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
