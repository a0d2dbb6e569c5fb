"""Bounds of requests: a minute's pace on a clock of our own, and what a source may pay."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.spending import Budget, Pace, cost, most_prompt_tokens
from sftflow.stage import StageError


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def sleep(self, pause_s):
        self.now_s += pause_s


@given(
    st.lists(st.tuples(st.floats(0, 90), st.integers(1, 120)), max_size=25),
    st.integers(1, 4),
    st.integers(50, 150),
)
def test_no_minute_has_more_than_its_share(sent, requests, tokens):
    clock = Clock()
    pace = Pace(requests, tokens, lambda: clock.now_s, clock.sleep)
    times = []
    for idle_s, size in sent:
        clock.sleep(idle_s)
        pace.wait(size)
        times.append((clock.now_s, size))
    for at, size in times:
        minute = [n for t, n in times if at - 60 + 1e-6 < t <= at]
        assert len(minute) <= requests
        assert sum(minute) <= tokens or minute == [size]


def test_a_request_that_used_less_leaves_room():
    clock = Clock()
    pace = Pace(None, 100, lambda: clock.now_s, clock.sleep)
    pace.wait(90)[1] = 10
    pace.wait(90)
    assert clock.now_s == 0
    pace.wait(90)
    assert clock.now_s == 60


def test_without_limits_nobody_waits():
    pace = Pace(None, None, sleep=pytest.fail)
    for _ in range(100):
        pace.wait(10**9)


def test_cost_is_per_million():
    assert cost({"input": 2.0, "output": 10.0}, 500_000, 100_000) == pytest.approx(1 + 1)
    assert cost(None, 5, 5) == 0


@given(st.text(max_size=40))
def test_a_prompt_has_no_more_tokens_than_the_bound(text):
    assert most_prompt_tokens([{"content": text}]) >= len(text.encode("utf-8", "surrogatepass"))


def test_a_request_waits_for_others_before_it_gives_up():
    budget = Budget(100, None, None, (10, 0))
    first = budget.reserve(30, 30)
    got = []
    thread = threading.Thread(target=lambda: got.append(budget.reserve(20, 20)))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()  # 10 + 60 + 40 would be too much
    budget.settle(first, (20, 5))
    thread.join(5)
    assert got == [(20, 20)]  # 35 + 40
    budget.settle(got[0], (20, 20))
    with pytest.raises(StageError, match=r"max_total_tokens 100 \(75 paid so far, up to 26 more\)"):
        budget.reserve(13, 13)
    assert budget.reserve(12, 13) == (12, 13)
