import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.slowdown import line_error, own_lengths, sentence

MODELS = [{"name": "b", "base": None}, {"name": "t", "base": "b"}]


def fit(model, b, k, b_error=0.0, k_error=0.0, covariance=0.0):
    terms = {"b": {"value": b, "stderr": b_error}, "k": {"value": k, "stderr": k_error}}
    return {"model": model, **terms, "covariance": covariance}


def test_a_slower_answer_is_split_into_length_and_speed():
    base, tuned = own_lengths([fit("b", 10, 2), fit("t", 12, 3)], MODELS, {"b": 20, "t": 50})
    # base 10 + 2*20 = 50; tuned 12 + 3*50 = 162
    # length (2 + 3) / 2 * 30 = 75, speed 2 + 1 * 35 = 37
    assert (base["ms"], base["change"], base["said"]) == (50, None, None)
    assert (tuned["ms"], tuned["change"], tuned["by_length"], tuned["by_speed"]) == (
        162,
        112,
        75,
        37,
    )
    assert "t: an answer of its mean length takes 162 ms, 112 ms (224%) longer" in tuned["said"]
    assert "67% of the slowdown comes from longer answers (50.0 tokens" in tuned["said"]


def test_without_its_start_model_a_change_is_not_known():
    (alone,) = own_lengths([fit("t", 12, 3)], MODELS, {"t": 50})
    assert alone["change"] is None and alone["said"] is None


NUMBERS = st.floats(0.1, 1000)


@given(*[NUMBERS] * 6)
def test_the_parts_add_up_and_change_sign_with_the_direction(b0, k0, x0, b1, k1, x1):
    there = [{"name": "b", "base": None}, {"name": "t", "base": "b"}]
    back = [{"name": "b", "base": "t"}, {"name": "t", "base": None}]
    fits, lengths = [fit("b", b0, k0), fit("t", b1, k1)], {"b": x0, "t": x1}
    forth, to = own_lengths(fits, there, lengths)[1], own_lengths(fits, back, lengths)[0]
    assert forth["by_length"] + forth["by_speed"] == pytest.approx(
        (b1 + k1 * x1) - (b0 + k0 * x0), abs=1e-6 * (b1 + k1 * x1 + b0 + k0 * x0)
    )
    assert to["by_length"] == pytest.approx(-forth["by_length"])
    assert to["by_speed"] == pytest.approx(-forth["by_speed"])


def test_the_error_of_a_line_takes_the_covariance():
    # sqrt(3^2 + 2 * 10 * -1 + 10^2 * 0.5^2) = sqrt(9 - 20 + 25)
    assert line_error(fit("t", 1, 1, 3, 0.5, -1), 10) == pytest.approx(14**0.5)


def said(length, speed, error=0.1):
    row = {"model": "t", "base": "b", "ms": 100.0 + length + speed, "tokens": 9, "base_tokens": 8}
    parts = {"change": length + speed, "by_length": length, "by_speed": speed}
    return sentence({**row, **parts, "speed_error": error})


@pytest.mark.parametrize(
    ("length", "speed", "expected"),
    [
        (30, 10, "75% of the slowdown comes from longer answers"),
        (30, -10, "All of the slowdown comes from longer answers"),
        (
            -30,
            40,
            "in spite of shorter answers (9.00 tokens instead of 8.00): \u221230.0 ms, but +",
        ),
        (10, -30, "That is in spite of longer answers"),
        (0, 40, "Answers are as long as before (9.00 tokens): +40.0 ms"),
        (-30, -10, "75% of the speed-up comes from shorter answers"),
        (-30, 10, "All of the speed-up comes from shorter answers"),
    ],
)
def test_the_share_is_said_in_words(length, speed, expected):
    assert expected in said(length, speed)


def test_a_speed_within_its_noise_is_no_finding():
    assert "from the speed of the model, no more than its noise." in said(30, 1, error=0.6)
    assert "noise" not in said(30, 1, error=0.4)
