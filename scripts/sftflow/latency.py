"""Timed streaming requests against a server: what is measured, and when the clock runs.

vLLM's own benchmark client is not used: it takes an error event in the stream for success,
builds the request's body after the clock has started, and its command reports zeros with
status 0 for a server that is gone (vllm 0.32: benchmarks/lib/endpoint_request_func.py).

Definitions, by a monotonic clock in this client, in milliseconds:

TTFT  from the moment before the request is sent to the arrival of the first chunk that
      carries a token
E2E   from the same moment to the arrival of the last chunk that carries a token
TPOT  (E2E - TTFT) / (n - 1) for n output tokens; undefined for n = 1
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sftflow.serving import Server
from sftflow.timings import tpot_ms

if TYPE_CHECKING:
    import aiohttp

REQUEST_S = 600.0
BURST_S = 0.0002


@dataclass(frozen=True)
class Cell:
    """One point of the grid."""

    prompt_tokens: int
    output_tokens: int
    concurrency: int


@dataclass(frozen=True)
class Planned:
    """A request with its body ready to be sent, so that nothing is built while time runs."""

    cell: Cell
    body: bytes


def random_prompts(
    count: int, length: int, vocabulary: Sequence[int], rng: np.random.Generator
) -> list[list[int]]:
    """Return prompts of exactly ``length`` token ids, shape (count, length), first ids distinct.

    Distinct from the first token on as far as the vocabulary reaches, so no two share a prefix
    that a cache could serve.
    """
    ids = rng.choice(np.asarray(vocabulary), size=(count, length))
    if count <= len(vocabulary):
        ids[:, 0] = rng.choice(np.asarray(vocabulary), size=count, replace=False)
    return ids.tolist()


def plan(server: Server, cell: Cell, prompts: Sequence[Sequence[int]], seed: int) -> list[Planned]:
    """Return the requests of a cell: token ids in, exactly ``output_tokens`` greedy tokens out."""
    said = {
        "model": server.model,
        "max_tokens": cell.output_tokens,
        "min_tokens": cell.output_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "top_p": 1,
        "repetition_penalty": 1,
        "seed": seed,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    return [Planned(cell, json.dumps({**said, "prompt": list(ids)}).encode()) for ids in prompts]


async def timed_request(
    session: aiohttp.ClientSession, server: Server, planned: Planned
) -> dict[str, Any]:
    """Send one request and return its times, or ``ok`` false and the error."""
    import aiohttp

    row: dict[str, Any] = dict.fromkeys(("ttft_ms", "tpot_ms", "e2e_ms", "arrivals"))
    row |= {"prompt_tokens": None, "output_tokens": None, "ok": False, "error": None}
    start_s = time.perf_counter()
    row["start_s"] = start_s
    try:
        async with session.post(f"{server.url}/completions", data=planned.body) as response:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}: {(await response.text())[:300]}")
            usage, first_s, last_s, arrivals = await _read_stream(response)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return {**row, "error": f"{type(error).__name__}: {error}"}
    expected = (planned.cell.prompt_tokens, planned.cell.output_tokens)
    row["prompt_tokens"], row["output_tokens"] = usage["prompt_tokens"], usage["completion_tokens"]
    if (row["prompt_tokens"], row["output_tokens"]) != expected:
        return {**row, "error": f"planned {expected} prompt and output tokens, got {usage}"}
    ttft, e2e = 1000 * (first_s - start_s), 1000 * (last_s - start_s)
    times = {"ttft_ms": ttft, "tpot_ms": tpot_ms(ttft, e2e, expected[1]), "e2e_ms": e2e}
    return {**row, **times, "arrivals": arrivals, "ok": True}


async def _read_stream(response: aiohttp.ClientResponse) -> tuple[dict, float, float, int]:
    """Return the final usage, when the first and the last token came, and at how many moments.

    Chunks less than ``BURST_S`` apart are taken as one moment.
    Each chunk says how many tokens there are so far: text alone would miss tokens that have
    none, such as a part of a character. Raises ValueError for an error event or a stream that
    does not end by ``[DONE]``.
    """
    tokens, arrivals, first_s, last_s, usage = 0, 0, None, None, None
    async for line in response.content:
        now_s = time.perf_counter()
        if not line.startswith(b"data:"):
            if line.startswith(b"event: error"):
                raise ValueError("error event in the stream")
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            if first_s is None or usage is None:
                raise ValueError("the stream ended without a token")
            return usage, first_s, last_s, arrivals
        chunk = json.loads(data)
        if "error" in chunk:
            raise ValueError(f"error in the stream: {chunk['error']}")
        usage = chunk.get("usage") or usage
        if usage and usage["completion_tokens"] > tokens:
            tokens = usage["completion_tokens"]
            arrivals += last_s is None or now_s - last_s > BURST_S
            first_s = now_s if first_s is None else first_s
            last_s = now_s
    raise ValueError("the stream broke off")


async def closed_loop(
    session: aiohttp.ClientSession, server: Server, planned: Sequence[Planned], concurrency: int
) -> list[dict[str, Any]]:
    """Send requests in order, ``concurrency`` under way at once; return their rows in order."""
    rows: list[dict[str, Any]] = [{} for _ in planned]
    waiting = iter(range(len(planned)))

    async def sender() -> None:
        for i in waiting:
            rows[i] = await timed_request(session, server, planned[i])

    await asyncio.gather(*(sender() for _ in range(concurrency)))
    return rows


def client_session(server: Server, concurrency: int) -> aiohttp.ClientSession:
    """Return a client that keeps ``concurrency`` connections open between requests."""
    import aiohttp

    return aiohttp.ClientSession(
        headers={**server.headers, "Content-Type": "application/json"},
        connector=aiohttp.TCPConnector(limit=concurrency, keepalive_timeout=300),
        timeout=aiohttp.ClientTimeout(total=REQUEST_S),
    )


def parse_metrics(text: str) -> dict[str, float]:
    """Return the server's Prometheus counters by name, summed over their labels."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            found[name] = found.get(name, 0.0) + float(value)
    return found


def server_view(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, Any]:
    """Return what the server itself counted between two readings of its metrics."""

    def grown(name: str) -> float | None:
        return after[name] - before.get(name, 0.0) if name in after else None

    def mean_ms(name: str) -> float | None:
        total, count = grown(f"vllm:{name}_sum"), grown(f"vllm:{name}_count")
        return 1000 * total / count if total is not None and count else None

    return {
        "requests": grown("vllm:request_success_total"),
        "ttft_mean_ms": mean_ms("time_to_first_token_seconds"),
        "e2e_mean_ms": mean_ms("e2e_request_latency_seconds"),
        "queue_mean_ms": mean_ms("request_queue_time_seconds"),
        "prefix_cache_hits": grown("vllm:prefix_cache_hits_total"),
        "preemptions": grown("vllm:num_preemptions_total"),
    }
