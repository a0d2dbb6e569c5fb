import asyncio
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import measure_latency
from measure_latency import check_grid, grid, median_low, raise_failed, since_first
from sftflow import latency, standstill
from sftflow.cautions import cautions
from sftflow.latency import (
    Cell,
    client_session,
    closed_loop,
    plan,
    random_prompts,
    timed_request,
)
from sftflow.stage import StageError
from sftflow.timings import cell_figures, drift, quantiles, streamed, tpot_ms


def test_tpot_is_the_time_per_further_token():
    assert tpot_ms(100, 400, 4) == 100  # 300 ms for the three tokens after the first
    assert tpot_ms(100, 100, 1) is None


def test_quantiles_are_linear_between_order_statistics():
    found = quantiles([1.0, 2.0, 3.0, 4.0, None])
    assert (found["mean"], found["p50"]) == (2.5, 2.5)
    assert found["p95"] == pytest.approx(3.85)  # 1 + 0.95 * 3
    assert quantiles([None]) == {"mean": None, "p50": None, "p95": None, "p99": None}


def test_drift_compares_the_first_and_the_last_third():
    assert drift([10, 10, 20, 20, 30, 30]) == 1.0  # |30 - 10| / 20
    assert drift([1, 2, 3, 4, 5]) is None


def row(prompt, output, concurrency, ttft, e2e, arrivals=None):
    return {
        "prompt_tokens": prompt,
        "output_tokens": output,
        "concurrency": concurrency,
        "ttft_ms": ttft,
        "tpot_ms": tpot_ms(ttft, e2e, output),
        "e2e_ms": e2e,
        "itl_ms": [(e2e - ttft) / (output - 1)] * (output - 1) if output > 1 else [],
        "arrivals": output if arrivals is None else arrivals,
    }


def test_the_figures_of_a_cell():
    found = cell_figures([row(8, 4, 1, 10, 40), row(8, 4, 1, 20, 80)], wall_s=0.5)
    assert (found["requests"], found["tokens_per_s"], found["requests_per_s"]) == (2, 16, 4)
    assert found["ttft_ms"]["p50"] == 15 and found["tpot_ms"]["p50"] == 15  # of 10 and 20
    assert found["itl_ms"]["p50"] == 15 and found["itl_ms"]["p99"] == 20  # thrice 10, thrice 20
    assert found["streamed"] == 1.0


def test_bursts_are_told():
    assert streamed([row(8, 10, 1, 1, 2, arrivals=1), row(8, 10, 1, 1, 2)]) == 11 / 20
    assert streamed([row(8, 1, 1, 1, 1)]) is None


def test_prompts_have_the_exact_length_and_share_no_prefix():
    prompts = random_prompts(20, 7, range(3, 40), np.random.default_rng(0))
    assert {len(p) for p in prompts} == {7}
    assert len({p[0] for p in prompts}) == 20
    assert prompts == random_prompts(20, 7, range(3, 40), np.random.default_rng(0))


SPEC = {
    "prompt_tokens": [8, 16, 32],
    "output_tokens": [4, 2],
    "concurrency": [1, 4],
    "requests_per_cell": 4,
    "warmup_requests": 8,
    "seed": 0,
}


def test_the_grid_and_its_limits():
    cells = grid(SPEC)
    assert len(cells) == 12 and cells[0] == Cell(8, 4, 1)
    check_grid(SPEC, cells, 36)
    with pytest.raises(StageError, match="make 36 tokens, the server takes 35"):
        check_grid(SPEC, cells, 35)
    with pytest.raises(StageError, match="requests_per_cell is 3"):
        check_grid({**SPEC, "requests_per_cell": 3}, cells, 99)
    assert (median_low(cells, "prompt_tokens"), median_low(cells, "output_tokens")) == (16, 2)


def test_a_failed_request_fails_the_stage():
    good = {"ok": True, "error": None}
    raise_failed([good, good], Cell(1, 1, 1))
    with pytest.raises(StageError, match=r"1 of 2 requests failed.*HTTP 500"):
        raise_failed([good, {"ok": False, "error": "HTTP 500"}], Cell(1, 1, 1))


def described(**changes):
    """The parts of latency.json that cautions look at, all as they should be."""
    cell = {"drift": 0.1, "streamed": 1.0, "client_share": {"ttft": 0.01, "tpot": None}}
    rate = {"rate_per_s": 2.0, "falls_behind": False}
    rate |= {"late_ms": {"p95": 1.0}, "ttft_ms": {"p50": 30.0}}
    plane = {"holds": True, "worst_share": 0.2, "lack_of_fit": {"p_value": 0.0012}}
    said = {
        "setup": {
            "load_average": {"before": [0.5], "after": [1.0]},
            "machine": {"cores": 2},
        },
        "warmup": {"settled": True},
        "client_stood_still_s": 0.1,
        "cells": [cell, cell],
        "rates": [rate],
        "fits": [{"concurrency": 4, "plane": plane}],
    }
    for path, value in changes.items():
        *above, last = path.split("__")
        place = said
        for part in above:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
    return said


def test_nothing_is_said_of_a_sound_measurement():
    assert cautions(described()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"warmup__settled": False}, "times had not settled when the measurement began"),
        ({"setup__load_average__after": [9.0]}, "busy: load average 0.5 and 9.0, 2 cores"),
        ({"client_stood_still_s": 30.1}, "the client stood still for 30.1 s (stopped"),
        ({"cells__1__drift": 0.3}, "of 2 cells drifted by more than 25%"),
        ({"cells__1__streamed": 0.2}, "of 2 cells most tokens came in bursts"),
        ({"cells__1__client_share__ttft": 0.08}, "more than 5% of TTFT, at most for 8%"),
        ({"cells__1__client_share__tpot": 0.06}, "more than 5% of TPOT, at most for 6%"),
        ({"rates__0__falls_behind": True}, "at 2 requests/s the queue was still growing"),
        ({"rates__0__late_ms__p95": 1.6}, "at 2 requests/s the client sent some requests late"),
        ({"fits__0__plane__holds": False}, "hold at concurrency 4: a cell lies 20% from it"),
    ],
)
def test_the_reader_is_warned(change, expected):
    (said,) = cautions(described(**change))
    assert expected in said


def test_a_client_that_was_stopped_knows_it(monkeypatch):
    monkeypatch.setattr(standstill, "TICK_S", 0.05)
    still = standstill.Standstill()

    async def measure():
        async with still.watched():
            await asyncio.sleep(0)  # the watch begins
            time.sleep(0.3)  # as SIGSTOP: nothing of this process runs
            await asyncio.sleep(0.01)
        before_s = still.longest_s
        time.sleep(0.5)  # between two cells, when nothing is measured
        await asyncio.sleep(0.01)
        return before_s

    assert asyncio.run(measure()) == still.longest_s > 0.2


# What a stream may hold; {} is a chunk without a token, as the first one of a chat is.
GOOD = [{}, 1, 2, 3, "[DONE]"]
STREAMS = {
    "good": (GOOD, None),
    "two tokens in a chunk": ([1, 3, "[DONE]"], None),
    "error event": ([1, {"error": {"message": "engine dead"}}, "[DONE]"], "engine dead"),
    "broken off": ([1, 2], "broke off"),
    "too few tokens": ([1, 2, "[DONE]"], "planned"),
    "no token": (["[DONE]"], "without a token"),
}


async def stream(request):
    said = (await request.json())["seed"]
    response = web.StreamResponse()
    await response.prepare(request)
    for item in STREAMS[said][0]:
        if isinstance(item, int):
            usage = {"prompt_tokens": 5, "completion_tokens": item}
            item = {"choices": [{"text": ""}], "usage": usage}
        data = item if isinstance(item, str) else json.dumps(item)
        await response.write(f"data: {data}\n\n".encode())
        await asyncio.sleep(0.003)
    return response


async def ask_for(name, path="/completions"):
    app = web.Application()
    app.router.add_post(path, stream)
    async with TestServer(app) as running:
        server = SimpleNamespace(
            url=str(running.make_url("/")).rstrip("/"), model="toy", headers={"X-Key": "k"}
        )
        cell = Cell(5, 3, 2)
        planned = plan(server, cell, [[1] * 5, [2] * 5], name)
        async with client_session(server, 2) as session:
            one = await timed_request(session, server, planned[0])
            return one, await closed_loop(session, server, planned, 2)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_timed_or_refused(name, monkeypatch):
    monkeypatch.setattr(latency, "BURST_S", 0)  # a busy machine hands two chunks over at once
    one, both = asyncio.run(ask_for(name))
    error = STREAMS[name][1]
    assert len(both) == 2 and all(r["ok"] == (error is None) for r in both)
    if error:
        assert error in one["error"] and one["ttft_ms"] is None
        return
    assert 0 < one["ttft_ms"] < one["e2e_ms"]
    assert one["tpot_ms"] == pytest.approx((one["e2e_ms"] - one["ttft_ms"]) / 2)
    assert (one["prompt_tokens"], one["output_tokens"]) == (5, 3)
    assert one["arrivals"] == len(one["itl_ms"]) + 1 == (3 if name == "good" else 2)
    assert sum(one["itl_ms"]) == pytest.approx(one["e2e_ms"] - one["ttft_ms"])


def test_an_http_error_is_a_failed_request():
    one, _ = asyncio.run(ask_for("good", path="/elsewhere"))
    assert not one["ok"] and "HTTP 404" in one["error"]


def test_a_server_that_hangs_fails_the_request(monkeypatch):
    """It accepts the request and never answers, as an engine does that was stopped in its work."""
    monkeypatch.setattr("sftflow.latency.REQUEST_S", 0.2)

    async def ask_once():
        async def hang(_request):
            await asyncio.sleep(600)

        app = web.Application()
        app.router.add_post("/completions", hang)
        async with TestServer(app, shutdown_timeout=0.1) as running:
            url = str(running.make_url("/")).rstrip("/")
            server = SimpleNamespace(url=url, model="toy", headers={})
            async with client_session(server, 1) as session:
                return await timed_request(
                    session, server, plan(server, Cell(5, 3, 1), [[1] * 5], 0)[0]
                )

    one = asyncio.run(ask_once())
    assert not one["ok"] and "Timeout" in one["error"] and one["ttft_ms"] is None


def test_every_column_of_a_row_is_kept():
    made = set(asyncio.run(ask_for("good"))[0]) | {"cell", "concurrency"}
    assert made | {"rate_per_s", "due_s", "late_ms"} == set(measure_latency.REQUESTS.names)


def test_moments_count_from_the_first_request():
    rows = since_first([{"start_s": 7.0, "due_s": None}, {"start_s": 9.5, "due_s": 9.0}])
    assert rows == [{"start_s": 0.0, "due_s": None}, {"start_s": 2.5, "due_s": 2.0}]
