from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.lengthbars import bars, marked
from sftflow.lengths import EDGES, binned, quantiles, summary

COUNTS = st.dictionaries(st.integers(0, 2_000_000), st.integers(1, 1000), max_size=60)


@given(COUNTS)
def test_bins_and_bars_lose_no_text(counts):
    bins = binned(counts)
    assert sum(n for _, n in bins) == sum(counts.values())
    drawn = bars(bins)
    assert sum(bar["rows"] for bar in drawn) == sum(counts.values())
    assert all(a["to"] == b["from"] for a, b in pairwise(drawn))
    assert len(drawn) <= 45


@given(COUNTS.filter(bool))
def test_each_text_lies_in_its_bin(counts):
    lows = [low for low, _ in binned(counts)]
    assert min(lows) <= min(counts)
    assert EDGES[EDGES.index(max(lows)) + 1] > max(counts) >= max(lows)


def test_edges_grow_by_nine_percent_at_most_once_they_can():
    ratios = [b / a for a, b in pairwise(EDGES[20:])]
    assert max(ratios) < 1.2
    assert len(EDGES) == len(set(EDGES))


def test_quantiles_are_those_of_the_texts_themselves():
    lengths = [*range(1, 200, 3), 7, 7, 4000]
    counts = {n: lengths.count(n) for n in lengths}
    expected = np.quantile(lengths, [0, 0.5, 0.95, 1], method="inverted_cdf")
    assert list(quantiles(counts).values()) == [int(n) for n in expected]


def test_no_text_is_not_0():
    assert quantiles({}) == {"min": None, "median": None, "p95": None, "max": None}
    assert summary({})["mean"] is None
    assert bars([]) == []


def test_a_mean_by_hand():
    assert summary({1: 2, 4: 1})["mean"] == 2.0  # (1 + 1 + 4) / 3


@pytest.mark.parametrize(
    ("limit", "parts"),
    [
        (None, [(64, 70, "kept"), (70, 77, "kept")]),
        (66, [(64, 66, "kept"), (66, 70, "over"), (70, 77, "over")]),
        (69, [(64, 70, "kept"), (70, 77, "over")]),  # 69 is the last length of the first bar
        (500, [(64, 70, "kept"), (70, 77, "kept")]),
        (10, [(64, 70, "over"), (70, 77, "over")]),
    ],
)
def test_what_lies_over_the_limit(limit, parts):
    rows = [{"from": 64, "to": 70, "rows": 3}, {"from": 70, "to": 77, "rows": 2}]
    assert [(r["from"], r["to"], r["part"]) for r in marked(rows, limit)] == parts
