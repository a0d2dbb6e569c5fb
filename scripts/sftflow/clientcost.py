"""What the client itself adds to the times that it measures.

The same requests go to a server that answers at once. What is measured there is the client's
work, the kernel's, and that server's own, so it is a bound from above.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sftflow import nullserver
from sftflow.latency import Cell, client_session, closed_loop, plan, random_prompts
from sftflow.stage import StageError
from sftflow.timings import quantiles

LEAST_REQUESTS = 16
ROUNDS = 2
MOST_TOKENS = 64  # of an answer: enough for a mean per token
NOTED = 0.05  # share of a time above which the client is noted


@dataclass(frozen=True)
class NullServer:
    """The server that answers at once, as its user sees it."""

    url: str
    model: str = "null"
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def null_server() -> Iterator[NullServer]:
    """Yield a running server of empty answers, which ends with this process at the latest."""
    command = [sys.executable, "-I", "-S", nullserver.__file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise StageError("latency: the server of empty answers did not start; see the log")
            yield NullServer(f"http://127.0.0.1:{port}/v1")
        finally:
            process.stdin.close()


async def client_cost(
    cells: Sequence[Cell], ids: Sequence[int], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return, per concurrency, the medians of TTFT and time per further token with no server.

    The longest prompt of the grid is sent, for it takes the client longest.
    """
    longest = max(cell.prompt_tokens for cell in cells)
    tokens = min(MOST_TOKENS, max(2, *(cell.output_tokens for cell in cells)))
    found = []
    with null_server() as server:
        for concurrency in sorted({cell.concurrency for cell in cells}):
            cell = Cell(longest, tokens, concurrency)
            count = max(LEAST_REQUESTS, ROUNDS * concurrency)
            async with client_session(server, concurrency) as session:
                for wanted in (concurrency, count):  # the first opens the connections
                    planned = plan(server, cell, random_prompts(wanted, longest, ids, rng), 0)
                    rows = await closed_loop(session, server, planned, concurrency)
            if failed := [row for row in rows if not row["ok"]]:
                raise StageError(f"latency: the client can't be measured: {failed[0]['error']}")
            found.append(
                {
                    "concurrency": concurrency,
                    "ttft_ms": quantiles([row["ttft_ms"] for row in rows])["p50"],
                    "token_ms": quantiles([row["tpot_ms"] for row in rows])["p50"],
                }
            )
    return found


def client_share(cost: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the client's part of a cell's median TTFT and TPOT.

    For TPOT it is how much of the time between two tokens the client spends on those of all
    requests under way. Below 1 most of that falls into the time in which it would wait.
    """
    first, further = cell["ttft_ms"]["p50"], cell["tpot_ms"]["p50"]
    return {
        "ttft": None if first is None else cost["ttft_ms"] / first,
        "tpot": None if further is None else cost["token_ms"] * cost["concurrency"] / further,
    }
