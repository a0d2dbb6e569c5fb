import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.estimates import mean_estimate, ratio_estimate

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30)


def test_mean_of_zeros_and_ones():
    # p = 3/4, n = 4: sqrt(0.75 * 0.25 / 3) = 0.25
    assert mean_estimate([1, 1, 0, 1]) == {"value": 0.75, "stderr": pytest.approx(0.25), "n": 4}


def test_no_data_is_null_and_one_item_has_no_spread():
    assert mean_estimate([]) == {"value": None, "stderr": None, "n": 0}
    assert mean_estimate([5]) == {"value": 5.0, "stderr": None, "n": 1}
    assert ratio_estimate([], []) == {"value": None, "stderr": None, "n": 0}
    assert ratio_estimate([0.0], [0]) == {"value": None, "stderr": None, "n": 0}
    assert ratio_estimate([6.0], [3]) == {"value": 2.0, "stderr": None, "n": 3}


@given(VALUES)
def test_order_does_not_matter(values):
    assert mean_estimate(values) == mean_estimate(sorted(values))


@given(VALUES)
def test_clusters_of_one_give_the_mean(values):
    mean, ratio = mean_estimate(values), ratio_estimate(values, [1] * len(values))
    assert ratio["value"] == pytest.approx(mean["value"], rel=1e-9, abs=1e-9)
    assert ratio["stderr"] == pytest.approx(mean["stderr"], rel=1e-6, abs=1e-6)


def test_ratio_by_hand():
    # sums 2 and 9 over 1 and 3 items: mean 11/4; deviations 2 - 2.75 and 9 - 8.25 = -+0.75;
    # var = 2/1 * (0.5625 + 0.5625) / 16 = 0.140625, stderr 0.375
    assert ratio_estimate([2.0, 9.0], [1, 3]) == {"value": 2.75, "stderr": 0.375, "n": 4}


def test_equal_clusters_hide_no_spread_within():
    # Each cluster repeats one value: the error is that of the cluster means, not of 200 items.
    wide = ratio_estimate([100.0, 300.0], [100, 100])
    assert wide["stderr"] == pytest.approx(mean_estimate([1, 3])["stderr"])
    assert not math.isclose(wide["stderr"], 0.0)
