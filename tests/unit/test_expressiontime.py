"""A config's own regular expression may take hours for a row: then that is said."""

import pytest
from steps_fixture import answers, run_step, talk

from sftflow import expressiontime
from sftflow.cleaning import cleaned
from sftflow.stage import StageError

SLOW = "(a+)+$"  # tries each of 2^40 ways to part the letters below
HARMLESS = "computer says no"
TEXT = "a" * 40 + "b"


@pytest.mark.parametrize(
    ("step", "option", "text"),
    [
        ("placeholders", "forms", TEXT),
        ("refusals", "phrases", TEXT),
        ("boilerplate", "openers", TEXT),
        ("boilerplate", "closers", f"Yes.\n{TEXT}"),
    ],
)
def test_an_expression_that_does_not_end_is_told_with_its_row(
    tmp_path, monkeypatch, step, option, text
):
    monkeypatch.setattr(expressiontime, "ROW_S", 0.2)
    monkeypatch.setattr(expressiontime, "ALONE_S", 0.1)
    rows = [talk("q", "computer says no"), talk("q", text, row=2)]
    with pytest.raises(StageError) as told:
        run_step(tmp_path, {"step": step, option: [HARMLESS, SLOW]}, rows)
    said = str(told.value)
    assert said.startswith(f"s f:2: cleaning step {step} is not done with this row after 0.2 s")
    assert f"because of {option}: '(a+)+$'; write it without" in said
    assert HARMLESS not in said


def test_two_that_are_slow_only_together_are_both_told(tmp_path, monkeypatch):
    monkeypatch.setattr(expressiontime, "ROW_S", 0.2)
    # Slow before the end that a closer must reach, and with none of it alone.
    rows = [talk("q", f"Yes.\n{TEXT}")]
    with pytest.raises(StageError, match=r"closers: '\(a\+\)\+', closers: 'x'"):
        run_step(tmp_path, {"step": "boilerplate", "closers": ["(a+)+", "x"]}, rows)


def test_time_spent_elsewhere_is_not_the_expressions(tmp_path, monkeypatch):
    """Steps pull their rows from those before them, however long these take."""
    monkeypatch.setattr(expressiontime, "ROW_S", 0.05)

    def rows():
        for row in range(3):
            sum(range(3_000_000))  # more than ROW_S of the processor
            yield talk("q", "Sure! It is 12 o'clock, and the sun is high.", row)

    step = {"step": "boilerplate", "openers": [HARMLESS]}
    stream, _ = cleaned(rows(), [step], tmp_path, lambda *_: None)
    assert answers(list(stream)) == ["It is 12 o'clock, and the sun is high."] * 3
