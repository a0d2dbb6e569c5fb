import math

import pytest

from sftflow.comparison import compare, headline, tally, verdict
from sftflow.direction import direction
from sftflow.summary import Measurement


def measured(value, stderr=None, n=200, group="scores", metric="t.exact_match", model="m"):
    return Measurement(model, "base", group, metric, value, stderr, n)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # sqrt(0.03^2 + 0.04^2) = 0.05, so the line lies at a difference of 0.10
        ((0.50, 0.03), (0.61, 0.04), "better"),
        ((0.50, 0.03), (0.59, 0.04), "same"),
        ((0.50, 0.03), (0.39, 0.04), "worse"),
        ((0.50, None), (0.61, 0.04), "unsure"),
        ((0.50, None), (0.50, None), "same"),
        ((None, None), (0.61, 0.04), "missing"),
    ],
)
def test_a_difference_counts_beyond_two_combined_errors(before, after, expected):
    assert verdict("scores", "t.exact_match", measured(*before), measured(*after)) == expected


def test_less_loss_is_better():
    assert verdict("loss", "validation", measured(4.0, 0.1), measured(1.0, 0.1)) == "better"
    assert verdict("loss", "text.general", measured(2.0, 0.01), measured(2.5, 0.01)) == "worse"


@pytest.mark.parametrize(
    ("group", "metric"),
    [("loss", "train.d.t.0a1b"), ("loss", "gap.d.t.0a1b"), ("memorisation", "train_exact.d.t.0a")],
)
def test_what_a_training_does_to_its_own_rows_is_neither_better_nor_worse(group, metric):
    assert verdict(group, metric, measured(4.0, 0.1), measured(1.0, 0.1)) == "neutral"


def test_a_digest_in_a_name_makes_no_headline():
    rows = [
        measured(1.0, 0.1, group=group, metric=metric)
        for group, metric in (
            ("scores", "t.distinct_2"),
            ("loss", "validation.d.t.0accf1ab"),
            ("memorisation", "train_exact.d.t.0accf1ab"),
        )
    ]
    assert headline(compare(rows, rows), None).metric == "t.distinct_2"


def test_an_error_of_zero_on_few_rows_is_no_error():
    # 3 of 3 right has a standard error of 0, which says nothing about the fourth
    assert verdict("scores", "t.acc", measured(0, 0, 3), measured(1, 0, 3)) == "unsure"
    assert verdict("scores", "t.acc", measured(0, 0, 50), measured(1, 0, 50)) == "better"


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("tickets.exact_match", 1),
        ("gsm8k.exact_match[strict-match]", 1),
        ("wikitext.word_perplexity", -1),
        ("tickets.repetition", -1),
        ("tickets.answer_tokens", 0),
        ("tickets.distinct_2", 0),
        ("my.loss.task.acc", 1),  # only the last part names the measure
    ],
)
def test_direction_follows_the_last_part_of_the_name(metric, expected):
    assert direction("scores", metric) == expected


def test_a_length_is_neither_better_nor_worse():
    pair = (measured(61, 1, metric="t.answer_tokens"), measured(27, 1, metric="t.answer_tokens"))
    assert verdict("scores", "t.answer_tokens", *pair) == "neutral"


def test_compare_goes_by_what_was_asked_of_the_tuned_model():
    base = [measured(0.1, 0.01), measured(0.3, 0.1, metric="other.acc")]
    tuned = [measured(0.9, 0.01), measured(0.5, 0.02, metric="t.json_valid")]
    tuned += [measured(13.0, group="latency", metric="fit.b_ms")]
    found = {(c.group, c.metric): c for c in compare(base, tuned)}
    assert [*found] == [("scores", "t.exact_match"), ("scores", "t.json_valid")]
    one = found["scores", "t.exact_match"]
    assert one.difference == pytest.approx(0.8)
    assert one.error == pytest.approx(0.01 * math.sqrt(2))
    other = found["scores", "t.json_valid"]
    assert (other.verdict, other.difference, other.error) == ("missing", None, None)
    assert tally(found.values())["missing"] == 1


def test_the_headline_is_the_named_or_the_most_telling_measure():
    names = ("t.answer_tokens", "t.json_valid", "t.exact_match")
    rows = [measured(0.5, 0.1, metric=name) for name in names]
    compared = compare(rows, rows)
    assert headline(compared, None).metric == "t.exact_match"
    assert headline(compared, "scores/t.json_valid").metric == "t.json_valid"
    assert headline(compared, "scores/absent") is None
    assert headline([], None) is None
