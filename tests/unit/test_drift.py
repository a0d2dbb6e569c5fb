import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow.drift import (
    by_chance,
    has_moved,
    js_distance,
    measured,
    pooled,
    side_by_side,
)

COUNTS = st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 500), min_size=1)
LENGTHS = st.dictionaries(st.integers(0, 4000), st.integers(1, 500), min_size=1)


@settings(deadline=None)  # the first one loads scipy
@given(COUNTS, COUNTS)
def test_the_distance_is_symmetric_and_between_0_and_1(one, other):
    assert js_distance(one, other) == pytest.approx(js_distance(other, one), abs=1e-7)
    assert 0 <= js_distance(one, other) <= 1


@settings(deadline=None)
@given(COUNTS, st.integers(1, 9))
def test_equal_shares_have_no_distance(counts, times):
    assert js_distance(counts, {k: n * times for k, n in counts.items()}) < 1e-7


def test_the_distance_by_hand():
    assert js_distance({"a": 3}, {"b": 8}) == 1
    # shares (1, 0) and (1/2, 1/2), between them (3/4, 1/4):
    # (1 log2(4/3) + 1/2 log2(2/3) + 1/2 log2(2)) / 2
    divergence = (math.log2(4 / 3) + 0.5 * math.log2(2 / 3) + 0.5) / 2
    assert js_distance({"a": 7}, {"a": 2, "b": 2}) == pytest.approx(math.sqrt(divergence))
    assert js_distance({}, {"a": 1}) is None


@pytest.mark.parametrize(("one", "other"), [(400, 400), (300, 3000)])
def test_by_chance_is_what_drawn_samples_show(one, other):
    generator = np.random.default_rng(0)
    shares = np.arange(1, 13) / np.arange(1, 13).sum()

    def drawn(rows):
        return dict(enumerate(generator.multinomial(rows, shares)))

    seen = [js_distance(drawn(one), drawn(other)) ** 2 for _ in range(300)]
    assert math.sqrt(np.mean(seen)) == pytest.approx(by_chance(12, one, other), rel=0.08)


@pytest.mark.parametrize("kinds", [2, 40, 400])
def test_draws_from_the_same_rows_have_not_moved(kinds):
    generator = np.random.default_rng(1)
    shares = 1 / np.arange(1, kinds + 1)
    drawn = [
        {f"w{i}": int(n) for i, n in enumerate(generator.multinomial(800, shares / shares.sum()))}
        for _ in range(60)
    ]
    moved = [has_moved(a, b) for a, b in zip(drawn[::2], drawn[1::2], strict=True)]
    assert sum(moved) <= 1  # of 30, each with a chance of 0.001


def test_what_moved_is_marked_and_what_is_too_small_to_see_is_not():
    assert measured("x", {"a": 100, "b": 100}, {"a": 190, "b": 10})["moved"]
    # 0.2 % of a million rows: sure, but of no interest
    assert not measured("x", {"a": 10**6}, {"a": 10**6, "b": 2000})["moved"]
    assert not measured("x", {"a": 2}, {"b": 2})["moved"]  # too few rows to say
    assert measured("x", {}, {"a": 1}) == {
        "label": "x",
        "distance": None,
        "chance": None,
        "moved": False,
    }


def test_a_bump_in_the_tail_of_lengths_is_seen():
    before = {100: 400, 110: 400, 10: 8, 12: 7, 14: 9}
    now = {100: 350, 110: 350, **dict.fromkeys((300, 330, 360, 400, 440), 9)}
    assert has_moved(now, before)


@given(st.one_of(st.tuples(COUNTS, COUNTS), st.tuples(LENGTHS, LENGTHS)))
def test_pooling_loses_no_row(pair):
    one, other = pair
    table = pooled(one, other)
    assert sum(n for n, _ in table) == sum(one.values())
    assert sum(m for _, m in table) == sum(other.values())


def test_shares_side_by_side():
    rows = side_by_side([["en", 90], ["de", 10], [None, 100]], [["en", 1], ["fr", 1]])
    assert rows == [
        {"value": "en", "now": 0.45, "before": 0.5},
        {"value": "fr", "now": 0.0, "before": 0.5},
        {"value": "de", "now": 0.05, "before": 0.0},
    ]
