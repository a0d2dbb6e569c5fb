import asyncio
import json
from types import SimpleNamespace

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import measure_latency
from measure_latency import check_grid, check_seen, grid, median_low, raise_failed, warnings
from sftflow.latency import (
    Cell,
    client_session,
    closed_loop,
    parse_metrics,
    plan,
    random_prompts,
    server_view,
    timed_request,
)
from sftflow.stage import StageError
from sftflow.timings import cell_figures, drift, fits, line, quantiles, streamed, tpot_ms


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
        "arrivals": output if arrivals is None else arrivals,
    }


def test_the_figures_of_a_cell():
    found = cell_figures([row(8, 4, 1, 10, 40), row(8, 4, 1, 20, 80)], wall_s=0.5)
    assert (found["requests"], found["tokens_per_s"], found["requests_per_s"]) == (2, 16, 4)
    assert found["ttft_ms"]["p50"] == 15 and found["tpot_ms"]["p50"] == 15  # of 10 and 20
    assert found["streamed"] == 1.0


def test_bursts_are_told():
    assert streamed([row(8, 10, 1, 1, 2, arrivals=1), row(8, 10, 1, 1, 2)]) == 11 / 20
    assert streamed([row(8, 1, 1, 1, 1)]) is None


def test_a_line_through_points_on_a_line():
    found = line([1, 2, 3, 4], [7, 9, 11, 13], ("b", "k"))  # 5 + 2 x
    assert found["b"]["value"] == pytest.approx(5) and found["k"]["value"] == pytest.approx(2)
    assert found["r_squared"] == pytest.approx(1) and found["n"] == 4


def test_the_interval_of_a_slope_is_students():
    # y = x + (+1, -1, -1, +1): slope 1, residual variance 4 / 2, Sxx = 5, t(0.975, 2) = 4.30265
    found = line([0, 1, 2, 3], [1, 0, 1, 4], ("b", "k"))
    half = 4.30265 * np.sqrt(2 / 5)
    assert found["k"]["value"] == pytest.approx(1)
    assert found["k"]["high"] - found["k"]["low"] == pytest.approx(2 * half, rel=1e-4)


@pytest.mark.parametrize("x", [[1, 2], [3, 3, 3]])
def test_no_line_is_null(x):
    found = line(x, [1.0] * len(x), ("b", "k"))
    assert found["b"]["value"] is None and found["r_squared"] is None and found["n"] == len(x)


def test_fits_are_made_for_each_concurrency():
    # e2e = 10 c + 3 x, ttft = 2 c + p / 4
    rows = [
        row(p, x, c, 2 * c + p / 4, 10 * c + 3 * x)
        for c in (1, 4)
        for p in (8, 16, 32)
        for x in (4, 16)
    ]
    one, four = fits(rows)
    assert (one["concurrency"], four["concurrency"]) == (1, 4)
    assert one["answer"]["b_ms"]["value"] == pytest.approx(10)
    assert four["answer"]["b_ms"]["value"] == pytest.approx(40)
    assert four["answer"]["k_ms_per_token"]["value"] == pytest.approx(3)
    assert four["first_token"]["c_ms_per_token"]["value"] == pytest.approx(0.25)


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


def test_other_users_and_a_cache_are_noticed():
    seen = {"requests": 5.0, "prefix_cache_hits": 0.0}
    check_seen(seen, 5)
    with pytest.raises(StageError, match="somebody else"):
        check_seen(seen, 4)
    with pytest.raises(StageError, match="prefix cache"):
        check_seen({**seen, "prefix_cache_hits": 1.0}, 5)


def test_the_reader_is_warned():
    quiet = [{"drift": 0.1, "streamed": 1.0}]
    assert warnings(quiet, {"settled": True}, [[0.5], [1.0]], 2) == []
    loud = [{"drift": 0.3, "streamed": 0.1}, {"drift": None, "streamed": None}]
    said = warnings(loud, {"settled": False}, [[0.5], [9.0]], 2)
    assert [s.split()[0] for s in said] == ["times", "the", "1", "in"]


def test_metrics_are_read_and_subtracted():
    before = parse_metrics(
        '# HELP x\nvllm:request_success_total{finished_reason="stop"} 1.0\n'
        'vllm:request_success_total{finished_reason="length"} 2.0\n'
    )
    assert before == {"vllm:request_success_total": 3.0}
    after = {
        "vllm:request_success_total": 5.0,
        "vllm:time_to_first_token_seconds_sum": 0.5,
        "vllm:time_to_first_token_seconds_count": 2.0,
    }
    seen = server_view(before, after)
    assert (seen["requests"], seen["ttft_mean_ms"], seen["e2e_mean_ms"]) == (2.0, 250.0, None)


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
def test_a_stream_is_timed_or_refused(name):
    one, both = asyncio.run(ask_for(name))
    error = STREAMS[name][1]
    assert len(both) == 2 and all(r["ok"] == (error is None) for r in both)
    if error:
        assert error in one["error"] and one["ttft_ms"] is None
        return
    assert 0 < one["ttft_ms"] < one["e2e_ms"]
    assert one["tpot_ms"] == pytest.approx((one["e2e_ms"] - one["ttft_ms"]) / 2)
    assert (one["prompt_tokens"], one["output_tokens"]) == (5, 3)
    assert one["arrivals"] == (3 if name == "good" else 2)


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
    assert made == set(measure_latency.REQUESTS.names)
