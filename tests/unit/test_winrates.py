"""Win rates and biases by hand-counted cases."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow.winrates import figures, settled, share

AB = ("a", "b")
PLACES = st.sampled_from(["first", "second", "tie"])


@pytest.mark.parametrize(
    ("places", "winner"),
    [
        (("first", "second"), "a"),
        (("second", "first"), "b"),
        (("first", "first"), "tie"),
        (("tie", "second"), "tie"),
        (("tie", "tie"), "tie"),
        (("first", None), None),
    ],
)
def test_only_what_both_orders_say_is_a_win(places, winner):
    assert settled(places, AB) == winner


def row(places, chars=(10, 10)):
    asked = [{"verdict": place} for place in places]
    return {
        "outcome": "judged",
        "winner": settled(places, AB),
        "asked": asked,
        "chars": dict(zip(AB, chars, strict=True)),
    }


@settings(deadline=None)  # the first one imports scipy and statsmodels
@given(st.lists(st.tuples(PLACES, PLACES), min_size=1, max_size=30))
def test_turning_the_models_round_turns_the_win_rate_round(pairs):
    straight = figures([row(pair) for pair in pairs], AB)
    turned = figures([row(pair[::-1]) for pair in pairs], AB)
    assert straight["win_rate"]["value"] == pytest.approx(1 - turned["win_rate"]["value"])
    total = sum(straight[key]["value"] for key in ("wins", "ties", "losses"))
    assert total == pytest.approx(1)
    place = straight["position"]
    parts = sum(place[key]["value"] for key in ("consistent", "first", "second", "half"))
    assert parts == pytest.approx(1)


def test_intervals_are_wilsons():
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263, and 0 of 20.
    found = share(81, 263)
    assert (found["low"], found["high"]) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    found = share(0, 20)
    assert (found["low"], found["high"]) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert share(0, 0) == {"value": None, "low": None, "high": None, "n": 0}


def test_the_sign_test_leaves_ties_out():
    rows = [row(("first", "second"))] * 8 + [row(("second", "first"))] + [row(("tie", "tie"))] * 5
    # Nine coins, one or none of them the other way: (1 + 9) of 512, on both sides.
    assert figures(rows, AB)["p_value"] == pytest.approx(20 / 512)


def test_a_judge_that_looks_at_length_alone_is_found_out():
    longer = [row(("first", "second"), (20, 10))] * 10
    shorter = [row(("second", "first"), (10, 20))] * 10
    length = figures(longer + shorter, AB)["length"]
    assert length["longer_wins"]["value"] == 1.0
    assert length["rate_when_longer"]["value"] == 1.0
    assert length["rate_when_shorter"]["value"] == 0.0


def test_what_is_equally_long_says_nothing_of_length():
    assert figures([row(("first", "second"))], AB)["length"]["longer_wins"]["n"] == 0
