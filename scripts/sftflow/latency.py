"""Timed streaming requests against a server: what is measured, and when the clock runs.

vLLM's own benchmark client is not used: it takes an error event in the stream for success,
builds the request's body after the clock has started, and its command reports zeros with
status 0 for a server that is gone (vllm 0.32: benchmarks/lib/endpoint_request_func.py).

Definitions, by a monotonic clock in this client, in milliseconds:

TTFT  from the moment before the request is sent to the arrival of the first chunk that
      carries a token
E2E   from the same moment to the arrival of the last chunk that carries a token
TPOT  (E2E - TTFT) / (n - 1) for n output tokens; undefined for n = 1
ITL   the gaps between one chunk that carries a token and the next
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sftflow.timings import tpot_ms

if TYPE_CHECKING:
    import aiohttp

REQUEST_S = 600.0
BURST_S = 0.0002


class Target(Protocol):
    """Who is asked: an OpenAI API, its name for the model, and what each request needs."""

    @property
    def url(self) -> str:
        """Return the base URL, ending in /v1."""

    @property
    def model(self) -> str:
        """Return the model's name in requests."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return what every request needs."""


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


def plan(server: Target, cell: Cell, prompts: Sequence[Sequence[int]], seed: int) -> list[Planned]:
    """Return the requests of a cell: token ids in, exactly ``output_tokens`` greedy tokens out.

    ``ignore_eos`` alone sees to the length; ``min_tokens`` would set the server to work at each
    token that no user asks of it.
    """
    said = {
        "model": server.model,
        "max_tokens": cell.output_tokens,
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
    session: aiohttp.ClientSession, server: Target, planned: Planned
) -> dict[str, Any]:
    """Send one request and return its times, or ``ok`` false and the error."""
    import aiohttp

    row: dict[str, Any] = dict.fromkeys(("ttft_ms", "tpot_ms", "e2e_ms", "itl_ms", "arrivals"))
    row |= {"prompt_tokens": None, "output_tokens": None, "ok": False, "error": None}
    start_s = time.perf_counter()
    row["start_s"] = start_s
    try:
        async with session.post(f"{server.url}/completions", data=planned.body) as response:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}: {(await response.text())[:300]}")
            usage, moments_s = await _read_stream(response)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return {**row, "error": f"{type(error).__name__}: {error}"}
    expected = (planned.cell.prompt_tokens, planned.cell.output_tokens)
    row["prompt_tokens"], row["output_tokens"] = usage["prompt_tokens"], usage["completion_tokens"]
    if (row["prompt_tokens"], row["output_tokens"]) != expected:
        return {**row, "error": f"planned {expected} prompt and output tokens, got {usage}"}
    return {**row, **_times(start_s, moments_s, expected[1]), "ok": True}


def _times(start_s: float, moments_s: Sequence[float], output_tokens: int) -> dict[str, Any]:
    """Return the times of a request that was sent at one moment and got tokens at others.

    Chunks less than ``BURST_S`` apart are taken as one arrival.
    """
    ttft, e2e = 1000 * (moments_s[0] - start_s), 1000 * (moments_s[-1] - start_s)
    gaps_s = [late - early for early, late in itertools.pairwise(moments_s)]
    return {
        "ttft_ms": ttft,
        "tpot_ms": tpot_ms(ttft, e2e, output_tokens),
        "e2e_ms": e2e,
        "itl_ms": [1000 * gap_s for gap_s in gaps_s],
        "arrivals": 1 + sum(gap_s > BURST_S for gap_s in gaps_s),
    }


async def _read_stream(response: aiohttp.ClientResponse) -> tuple[dict, list[float]]:
    """Return the final usage, and the moments at which chunks with tokens came.

    Each chunk says how many tokens there are so far: text alone would miss tokens that have
    none, such as a part of a character. Raises ValueError for an error event or a stream that
    does not end by ``[DONE]``.
    """
    tokens, moments_s, usage = 0, [], None
    async for line in response.content:
        now_s = time.perf_counter()
        if not line.startswith(b"data:"):
            if line.startswith(b"event: error"):
                raise ValueError("error event in the stream")
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            if not moments_s:
                raise ValueError("the stream ended without a token")
            return usage, moments_s
        chunk = json.loads(data)
        if "error" in chunk:
            raise ValueError(f"error in the stream: {chunk['error']}")
        usage = chunk.get("usage") or usage
        if usage and usage["completion_tokens"] > tokens:
            tokens = usage["completion_tokens"]
            moments_s.append(now_s)
    raise ValueError("the stream broke off")


async def closed_loop(
    session: aiohttp.ClientSession, server: Target, planned: Sequence[Planned], concurrency: int
) -> list[dict[str, Any]]:
    """Send requests in order, ``concurrency`` under way at once; return their rows in order."""
    rows: list[dict[str, Any]] = [{} for _ in planned]
    waiting = iter(range(len(planned)))

    async def sender() -> None:
        for i in waiting:
            rows[i] = await timed_request(session, server, planned[i])

    await asyncio.gather(*(sender() for _ in range(concurrency)))
    return rows


def client_session(server: Target, concurrency: int) -> aiohttp.ClientSession:
    """Return a client that keeps up to ``concurrency`` connections open; 0: as many as needed."""
    import aiohttp

    return aiohttp.ClientSession(
        headers={**server.headers, "Content-Type": "application/json"},
        connector=aiohttp.TCPConnector(limit=concurrency, keepalive_timeout=300),
        timeout=aiohttp.ClientTimeout(total=REQUEST_S),
    )
