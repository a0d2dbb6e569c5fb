"""The split: to the row, by prompt, by seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow.splitting import SIDES, shortfalls, split_sides, wanted_rows
from sftflow.stage import StageError


def split(keys, validation=0.1, test=0.2, seed=0):
    return split_sides(keys, {"validation": validation, "test": test, "seed": seed})


def numbers(sides):
    return {side: int((sides == i).sum()) for i, side in enumerate(SIDES)}


@pytest.mark.parametrize(
    ("share", "rows", "wanted"),
    [(0, 10, 0), (0.1, 100, 10), (0.01, 10, 1), (0.25, 10, 2), (5, 10, 5), (1, 10, 1), (3.0, 9, 3)],
)
def test_wanted_rows(share, rows, wanted):
    assert wanted_rows(share, rows, "test") == wanted


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_shares_that_mean_nothing(share):
    with pytest.raises(StageError, match=r"split\.test"):
        wanted_rows(share, 10, "test")


def test_shares_are_met_to_the_row():
    assert numbers(split(range(1000))) == {"test": 200, "validation": 100, "train": 700}
    assert numbers(split(range(1000), 7, 0)) == {"test": 0, "validation": 7, "train": 993}


def test_a_seed_is_a_seed():
    assert (split(range(100)) == split(range(100))).all()
    assert (split(range(100)) != split(range(100), seed=1)).any()


def test_one_more_row_moves_few():
    # 1000 rows: the 200th place of the test side may move by one, nothing else.
    before, after = split(range(1000)), split(range(1001))[:1000]
    assert (before != after).sum() <= 3


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_too_few_rows(rows):
    with pytest.raises(StageError, match="too few"):
        split(range(rows))


def test_three_rows_are_enough():
    assert numbers(split(range(3))) == {"test": 1, "validation": 1, "train": 1}


def test_nothing_set_aside():
    assert numbers(split([7], 0, 0)) == {"test": 0, "validation": 0, "train": 1}


def test_one_prompt_for_all_rows_can_not_be_split():
    with pytest.raises(StageError, match="share 1 prompts"):
        split([7] * 100)


def test_a_large_group_goes_to_training():
    keys = [7] * 900 + list(range(100, 200))
    sides = split(keys, 0.05, 0.05)
    assert set(sides[:900]) == {SIDES.index("train")}
    assert numbers(sides) == {"test": 50, "validation": 50, "train": 900}


@given(
    keys=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=80),
    copies=st.integers(1, 3),
    validation=st.sampled_from([0, 0.1, 1, 5]),
    test=st.sampled_from([0, 0.3, 2]),
    seed=st.integers(0, 3),
)
@settings(max_examples=100, deadline=None)
def test_one_prompt_stands_on_one_side(keys, copies, validation, test, seed):
    keys = keys * copies
    try:
        sides = split(keys, validation, test, seed)
    except StageError:
        return
    for key in set(keys):
        assert len(set(sides[np.array(keys, dtype=np.uint64) == key])) == 1
    got = numbers(sides)
    assert got["train"] >= 1
    assert got["test"] <= wanted_rows(test, len(keys), "test")
    assert (got["test"] > 0) == (test > 0)
    assert (got["validation"] > 0) == (validation > 0)


def test_strata_give_their_shares():
    # 90 rows of a, 9 of b, 1 of c: 10 test rows are 9, 1 and 0 of them.
    strata = ["a"] * 90 + ["b"] * 9 + ["c"]
    sides = split_sides(range(100), {"validation": 0, "test": 10, "seed": 0}, strata)
    assert [sum(s == 0 for s in sides[a:b]) for a, b in ((0, 90), (90, 99), (99, 100))] == [9, 1, 0]


def test_one_prompt_of_two_strata_stands_on_one_side():
    keys = list(range(50)) * 2
    sides = split_sides(keys, {"validation": 10, "test": 10, "seed": 0}, ["a"] * 50 + ["b"] * 50)
    assert (sides[:50] == sides[50:]).all()


def test_shortfalls_are_told_beyond_a_tenth_and_a_row():
    sides = np.array([0] * 15 + [1] * 9 + [2] * 76)
    split = {"validation": 10, "test": 20}
    assert shortfalls(sides, split) == {"test": (15, 20)}
