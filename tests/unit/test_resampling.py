import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from sftflow.paired import adjusted, paired_means, paired_sums
from sftflow.resampling import bootstrap_mean, exchange_mean_p, holm, mcnemar_p
from sftflow.sums import SUMS


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_that_of_statsmodels(gained, lost):
    expected = mcnemar([[5, gained], [lost, 9]], exact=True).pvalue
    assert mcnemar_p(gained, lost) == pytest.approx(min(1.0, expected))


def test_few_rows_are_tested_exactly():
    # of 2^3 ways to exchange three equal gains, two are as far from 0: all, none
    assert exchange_mean_p(np.array([1.0, 1.0, 1.0])) == pytest.approx(2 / 8)
    assert exchange_mean_p(np.array([0.0, 0.0])) == 1.0


def test_the_interval_of_a_mean():
    values = np.random.default_rng(3).normal(0.3, 1, 400)
    low, high, stderr = bootstrap_mean(values)
    expected = values.std(ddof=1) / 20
    assert stderr == pytest.approx(expected, rel=0.1)
    assert (low, high) == pytest.approx(
        (values.mean() - 1.96 * expected, values.mean() + 1.96 * expected), abs=0.2 * expected
    )
    assert bootstrap_mean(values) == (low, high, stderr)


def test_holm_by_hand():
    # 0.01 * 3, then max(0.03, 0.02 * 2), then max(0.04, 0.9)
    assert holm([0.02, None, 0.9, 0.01]) == pytest.approx([0.04, None, 0.9, 0.03])
    assert holm([None]) == [None]


def test_a_paired_difference_by_hand():
    pair = paired_means("scores", "d.exact_match", [0, 0, 1, 1, None], [1, 1, 1, 0, 1])
    assert (pair.n, pair.against, pair.model, pair.difference) == (4, 0.5, 0.75, 0.25)
    assert (pair.wins, pair.losses, pair.ties) == (2, 1, 1)
    assert (pair.test, pair.p) == ("mcnemar", 1.0)  # 2 of 3: as good as even
    assert pair.low <= pair.difference <= pair.high
    assert paired_means("scores", "d.exact_match", [None], [1]) is None
    alone = paired_means("scores", "d.exact_match", [0], [1])
    assert (alone.low, alone.stderr, alone.p) == (None, None, 1.0)


def test_less_repetition_is_a_win_and_a_length_neither():
    fewer = paired_means("scores", "d.repetition", [0.5, 0.4], [0.1, 0.4])
    assert (fewer.wins, fewer.losses, fewer.ties, fewer.test) == (1, 0, 1, "exchange")
    longer = paired_means("scores", "d.answer_tokens", [5, 6], [9, 9])
    assert (longer.wins, longer.losses) == (None, None)
    first, second = adjusted([fewer, longer])
    assert first.p_holm == fewer.p and second.p_holm is None


def test_pairing_is_surer_than_two_means():
    """Hard rows are hard for both: of the difference they say nothing."""
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 10, 100)
    before, after = hard + rng.normal(0, 1, 100), hard + rng.normal(1, 1, 100)
    pair = paired_means("scores", "d.rougeL", list(before), list(after))
    assert pair.stderr < 0.2 < 1.0 < np.hypot(before.std() / 10, after.std() / 10)
    assert pair.p < 0.01


def test_a_paired_bleu():
    references = [f"the {word} fox runs home now" for word in ("red", "old", "big", "sly")] * 3
    same = SUMS["bleu"](references, references)
    worse = SUMS["bleu"](["the fox went away from home"] * 12, references)
    pair = paired_sums("scores", "d.bleu", same, worse)
    assert pair.against == pytest.approx(100) and pair.model < 30
    assert pair.high < 0 and pair.p < 0.01
    alike = paired_sums("scores", "d.bleu", same, same)
    assert (alike.difference, alike.low, alike.high, alike.p) == (0, 0, 0, 1)
