import random

from hypothesis import given
from hypothesis import strategies as st

from sftflow.losses import IGNORED, Score
from sftflow.recitation import Recited, Side, chosen, figures, first_answer, recitation, recited

ROWS = [{"id": f"{n:016x}"} for n in range(200)]


def test_the_same_rows_are_chosen_in_any_order():
    mixed = random.Random(0).sample(ROWS, len(ROWS))
    assert {r["id"] for r in chosen(mixed, 20)} == {r["id"] for r in chosen(ROWS, 20)}
    assert [r["id"] for r in chosen(ROWS, 20)] != [r["id"] for r in ROWS[:20]]
    assert chosen(ROWS, 0) == [] and len(chosen(ROWS[:3], 20)) == 3


def test_a_new_row_takes_the_place_of_one_at_most():
    before = {r["id"] for r in chosen(ROWS, 20)}
    for new in ({"id": f"{n:016x}"} for n in range(1000, 1050)):
        assert len(before - {r["id"] for r in chosen([*ROWS, new], 20)}) <= 1


def test_the_first_answer_ends_where_the_loss_does():
    off = IGNORED
    assert first_answer([off, off, 5, 6, off, 7]) == 2
    assert first_answer([5, 6, 7, off]) == 2  # the very first token is never predicted
    assert first_answer([off, off]) == 0


def row(answer, later=()):
    return {"id": "a", "labels": [IGNORED, IGNORED, *answer, IGNORED, *later]}


def test_reciting_ends_at_the_first_token_that_differs():
    right = [True, True, False, True, True]
    assert recited(row([1, 2, 3, 4, 5]), right, 0, 64) == Recited("a", 5, 2)
    assert recited(row([1, 2, 3, 4, 5]), right, 0, 2).whole
    assert recited(row([1, 2, 3, 4, 5]), right, 3, 64) == Recited("a", 2, 2)
    assert recited(row([1, 2, 3, 4, 5]), right, 5, 64) is None
    # a second answer, right throughout, is no part of the first
    assert recited(row([1, 2], [3, 4]), [True, False, True, True], 0, 64) == Recited("a", 2, 1)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 40), st.integers(0, 5))
def test_more_given_never_makes_a_whole_answer_less(right, most, more):
    whole = row(list(range(len(right))))
    first = recited(whole, right, 0, most)
    assert 0 <= first.prefix <= first.asked == min(most, len(right))
    if all(right) and more < len(right):
        assert recited(whole, right, more, most).whole


def test_each_side_is_told_and_whole_training_rows_are_named():
    rows = [{**row([1, 2]), "id": name, "input_ids": [0] * 5} for name in "abc"]
    said = {
        "train": [Score(0.1, [True, True]), Score(0.1, [True, False]), Score(0.1, [True, True])],
        "validation": [None, Score(0.1, [False, True]), Score(0.1, [True, True])],
    }
    parts = {"train": Side(rows, [0, 1, 2]), "validation": Side(rows, [0, 1])}
    told = recitation(parts, said, {"given_tokens": 0, "max_tokens": 64})
    assert told["recited"] == ["a", "c"]
    assert told["train"]["exact"]["value"] == 2 / 3
    assert told["train"]["prefix_tokens"]["value"] == 5 / 3  # (2 + 1 + 2) / 3
    assert told["validation"]["exact"] == {"value": 0, "stderr": None, "n": 1}


def test_no_rows_are_null_and_not_0():
    assert figures([])["exact"] == {"value": None, "stderr": None, "n": 0}
