import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.warmup import LEAST, MOST, settled, told, tolerance

TIMES = st.lists(st.floats(1, 1000), min_size=4, max_size=4)


def test_times_that_still_fall_have_not_settled():
    cold, warm = [90, 60, 50, 45], [30.2, 30.0, 30.1, 29.9]
    assert not settled([cold]) and not settled([cold, warm])
    assert settled([cold, warm, warm])


def test_one_stall_does_not_make_a_warm_server_cold():
    assert settled([[30, 31, 30, 31], [30, 31, 300, 31]])


def test_the_tolerance_follows_the_noise():
    window = [100, 100, 112, 112]  # each 6 from the median
    error = 1.2533 * 1.4826 * 6 * (2 / 4) ** 0.5
    assert tolerance(window, window) == pytest.approx(2 * error)


@given(TIMES, TIMES)
def test_the_tolerance_is_bounded(earlier, later):
    middle = sorted(earlier)[1:3]
    middle = sum(middle) / 2
    assert LEAST * middle <= tolerance(earlier, later) * (1 + 1e-9)
    assert tolerance(earlier, later) <= MOST * middle * (1 + 1e-9)


def test_what_was_dropped_is_told_with_the_reason():
    found = told([[50.0, 50.0], [30.0, 30.0], [30.0, 30.0]], before=5)
    assert (found["requests"], found["window"], found["settled"]) == (11, 2, True)
    assert found["medians_e2e_ms"] == [50, 30, 30] and "agree" in found["why"]
    cut = told([[50.0, 50.0]], before=1)
    assert not cut["settled"] and cut["why"] == "latency.warmup_requests was reached"
    assert cut["tolerance_ms"] is None
