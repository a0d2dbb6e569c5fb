"""How many rows of each source, and which: to the row, stable, by seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.mixing import copies, place, wanted_rows
from sftflow.stage import StageError


def share(**given):
    return {"times": None, "rows": None, "ratio": None, "max_times": 4, "seed": 0, **given}


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        ({}, {"mine": 400, "general": 10_000}),
        ({"general": share(ratio=1)}, {"mine": 400, "general": 400}),
        ({"general": share(ratio=0.1)}, {"mine": 400, "general": 40}),
        ({"general": share(rows=5000)}, {"mine": 400, "general": 5000}),
        ({"general": share(times=0.5)}, {"mine": 400, "general": 5000}),
        # a ratio refers to what the others have become: 400 * 3
        ({"mine": share(times=3), "general": share(ratio=0.5)}, {"mine": 1200, "general": 600}),
        ({"mine": share(rows=1600)}, {"mine": 1600, "general": 10_000}),  # 4 times each
    ],
)
def test_wanted_rows(mix, expected):
    assert wanted_rows(mix, {"mine": 400, "general": 10_000}) == expected


@pytest.mark.parametrize(
    ("mix", "sentence"),
    [
        ({"few": share(ratio=1)}, r"mix.few: ratio 1 means 400 rows, 40.0 times the 10 there are"),
        ({"few": share(rows=41)}, r"raise max_times \(4\)"),
        ({"mine": share(ratio=0.01)}, "ratio 0.01 of 10 rows is no row"),
        ({"few": share(times=0.01)}, "times 0.01 of 10 rows is no row"),
        ({"none": share(times=2)}, "mix.none: no row of this source is left"),
    ],
)
def test_a_mix_that_can_not_be_made(mix, sentence):
    with pytest.raises(StageError, match=sentence):
        wanted_rows(
            mix,
            {"few": 10, "none": 0, "mine": 400} if "mine" not in mix else {"few": 10, "mine": 400},
        )


def test_times_may_be_more_than_max_times():
    assert wanted_rows({"few": share(times=9)}, {"few": 10}) == {"few": 90}


@given(st.integers(1, 50), st.integers(0, 300), st.integers(0, 3))
def test_rows_are_taken_as_often_as_asked_and_evenly(rows, wanted, seed):
    taken = copies(np.array([place(seed, str(i)) for i in range(rows)], np.uint64), wanted)
    assert taken.sum() == wanted
    assert taken.max() - taken.min() <= 1


def test_another_row_moves_few_and_another_seed_many():
    def taken(rows, seed=0):
        places = np.array([place(seed, str(i)) for i in range(rows)], np.uint64)
        return copies(places, 300)[:1000]

    assert (taken(1000) != taken(1001)).sum() <= 1
    assert (taken(1000) != taken(1000, seed=1)).sum() > 300  # 0.3 * 0.7 * 2 * 1000 = 420 expected
    assert (taken(1000) == taken(1000)).all()
