import json

from hypothesis import given
from hypothesis import strategies as st

from sftflow.bestcheckpoint import (
    BY_LOSS,
    Best,
    best_counts,
    best_of,
    evaluations_since_best,
    had_stopped,
)

BY_F1 = Best("f1_macro", greater_is_better=True)


def log(*losses):
    entries = []
    for loss in losses:
        entries += [{"loss": 9.0}, {"eval_loss": loss}]
    return entries


def scored(*pairs):
    """Return the log of evaluations at steps 1, 2 ..., each of (score, loss)."""
    return [
        {"step": step, "eval_f1_macro": score, "eval_loss": loss}
        for step, (score, loss) in enumerate(pairs, start=1)
    ]


def test_evaluations_after_the_lowest_loss_are_counted():
    assert evaluations_since_best([]) == 0
    assert evaluations_since_best(log(3.0)) == 0
    assert evaluations_since_best(log(3.0, 2.0, 2.5, 2.1)) == 2
    assert evaluations_since_best(log(3.0, 2.0, 2.0)) == 1  # as low is not lower
    assert evaluations_since_best(log(3.0, 2.0, 2.5, 1.9)) == 0


def test_a_metric_chooses_and_the_loss_where_it_ties():
    assert evaluations_since_best(scored((0.2, 1.0), (0.9, 3.0), (0.5, 0.5)), BY_F1) == 1
    assert evaluations_since_best(scored((0.9, 2.0), (0.9, 1.5), (0.9, 1.7)), BY_F1) == 1
    assert evaluations_since_best(scored((0.9, 1.5), (0.9, 1.5)), BY_F1) == 1  # the earlier one


def test_less_may_be_better():
    rows = [{"eval_repetition": value, "eval_loss": 1.0} for value in (0.4, 0.1, 0.3)]
    assert evaluations_since_best(rows, Best("repetition", greater_is_better=False)) == 1


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([1.0, 2.0]))))
def test_no_evaluation_is_better_than_the_best_one(pairs):
    rows = scored(*pairs)
    best = len(rows) - 1 - evaluations_since_best(rows, BY_F1)
    for at, (score, loss) in enumerate(pairs):
        assert score <= pairs[best][0]
        if score == pairs[best][0]:
            assert (loss, at) >= (pairs[best][1], best)


def test_the_loss_of_the_best_step_is_told_beside_its_score():
    rows = scored((0.2, 1.0), (0.9, 3.0))
    told = {"best_step": 2, "best_eval_loss": 3.0, "best_by": "f1_macro", "best_eval_f1_macro": 0.9}
    assert best_counts(rows, 2, BY_F1) == told
    assert best_counts(rows, 1) == {"best_step": 1, "best_eval_loss": 1.0}
    assert best_counts([], None) == {"best_step": None, "best_eval_loss": None}  # not 0


def test_settings_that_name_no_metric_choose_by_loss():
    assert best_of({"seed": 0}) == BY_LOSS
    named = {"metric_for_best_model": "f1_macro", "greater_is_better": True}
    assert best_of(named) == BY_F1


def test_the_early_end_is_read_back_from_a_checkpoint(tmp_path):
    state = {"log_history": scored((0.9, 2.0), (0.5, 1.0), (0.6, 0.5))}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    assert had_stopped(tmp_path, 2, BY_F1)
    assert not had_stopped(tmp_path, 1)  # by loss the last one is the best
