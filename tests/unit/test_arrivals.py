import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from sftflow import arrivals
from sftflow.arrivals import (
    arrival_times,
    growth,
    in_flight,
    mixed_cells,
    open_loop,
    rate_figures,
)
from sftflow.latency import Cell, Planned


def test_arrivals_have_the_rate_and_the_gaps_of_a_poisson_process():
    due_s = arrival_times(50, 2000, np.random.default_rng(3))
    assert due_s == sorted(due_s) and due_s[0] >= 0 and due_s[-1] < 2000 / 50
    gaps = np.diff(due_s)
    # exponential gaps: standard deviation and mean are equal, exp(-1) of them exceed the mean
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.1)
    assert (gaps > 1 / 50).mean() == pytest.approx(np.exp(-1), abs=0.04)


def test_another_rate_has_the_same_arrivals_on_another_scale():
    slow, fast = (arrival_times(rate, 20, np.random.default_rng(1)) for rate in (2, 8))
    assert [t / 4 for t in slow] == pytest.approx(fast)


def test_lengths_are_those_of_the_grid():
    cells = mixed_cells([8, 16], [4], 50, np.random.default_rng(0))
    assert {(c.prompt_tokens, c.output_tokens) for c in cells} == {(8, 4), (16, 4)}
    assert cells == mixed_cells([8, 16], [4], 50, np.random.default_rng(0))


class SimulatedTime(asyncio.SelectorEventLoop):
    """An event loop whose clock goes on by itself when there is nothing to do but wait."""

    def __init__(self):
        super().__init__()
        self.now_s, look = 0.0, self._selector.select

        def no_wait(timeout=None):
            self.now_s += timeout or 0
            return look(0)

        self._selector.select = no_wait

    def time(self):
        return self.now_s


def served(monkeypatch, seconds_each, due_s):
    """Return the rows of an open loop at a server that takes one request at a time."""
    loop = SimulatedTime()
    monkeypatch.setattr(arrivals, "time", SimpleNamespace(perf_counter=loop.time))
    lock = asyncio.Lock()

    async def one_at_a_time(*_):
        start_s = loop.time()
        async with lock:
            await asyncio.sleep(seconds_each)
        took_ms = 1000 * (loop.time() - start_s)
        times = {"ttft_ms": took_ms, "tpot_ms": None, "e2e_ms": took_ms, "itl_ms": []}
        return {"start_s": start_s, "output_tokens": 1, **times}

    monkeypatch.setattr(arrivals, "timed_request", one_at_a_time)
    planned = [Planned(Cell(1, 1, 0), b"")] * len(due_s)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(open_loop(SimpleNamespace(), SimpleNamespace(), planned, due_s))


def test_requests_are_sent_when_due_though_others_have_not_come_back(monkeypatch):
    due_s = [0.0, 0.02, 0.04, 0.06, 0.08, 0.1]
    rows = served(monkeypatch, 0.06, due_s)
    sent_s = [row["start_s"] - rows[0]["due_s"] for row in rows]
    assert sent_s == pytest.approx(due_s)
    assert [row["late_ms"] for row in rows] == pytest.approx([0] * 6)
    # 60 ms of work come every 20 ms: each waits 40 ms longer than the one before
    assert rows[5]["ttft_ms"] - rows[0]["ttft_ms"] == pytest.approx(200)
    found = rate_figures(rows, 50.0)
    assert found["falls_behind"] is True
    assert found["requests_per_s"] == pytest.approx(6 / 0.36)  # not the 50 asked for
    assert found["in_flight"]["max"] >= 4


def test_a_server_that_keeps_up_is_not_said_to_fall_behind(monkeypatch):
    found = rate_figures(served(monkeypatch, 0.01, [0.03 * i for i in range(9)]), 33.0)
    assert found["falls_behind"] is False and found["in_flight"]["max"] == 1


def test_requests_under_way_follow_littles_law():
    rows = [
        {"start_s": 0.0, "due_s": 0.0, "e2e_ms": 2000},
        {"start_s": 1.0, "due_s": 1.0, "e2e_ms": 2000},
        {"start_s": 2.0, "due_s": 2.0, "e2e_ms": 2000},
    ]
    # 6 s of requests in 4 s; the third begins at the moment at which the first ends
    assert in_flight(rows) == {"mean": 1.5, "max": 2}


def test_growth_needs_six_requests():
    rows = [{"ttft_ms": t} for t in (10, 10, 20, 20, 30, 50)]
    assert growth(rows) == 4.0  # 40 / 10
    assert growth(rows[:5]) is None
