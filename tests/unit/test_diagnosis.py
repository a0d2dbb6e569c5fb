"""Made-up trainings: each verdict, its opposite, and what must not matter."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow.course import Course, Point
from sftflow.diagnosis import verdicts
from sftflow.diagnosisnotes import notes
from sftflow.signs import Run, Side, turning_point


def curve(values, every=1):
    return [Point(every * n, value) for n, value in enumerate(values, start=1)]


def learned(steps=60, start=3.0, end=0.9, wobble=0.05, seed=0):
    """Return a loss that falls fast in the first epoch and then little."""
    draw = random.Random(seed)
    return [
        end + (start - end) * math.exp(-8 * n / steps) + draw.uniform(-wobble, wobble)
        for n in range(steps)
    ]


def said(value, stderr=0.01, n=100):
    return {"value": value, "stderr": stderr, "n": n}


HELD_OUT = [2.0, 1.3, 1.05, 1.0]
GOOD = Run(
    course=Course(curve(learned()), curve(HELD_OUT, 15), curve([2e-4]), curve([0.8])),
    training={"load_best_model_at_end": True},
    kept_step=60,
    train=Side(said(0.9), said(3.0), said(0.1, 0.03)),
    validation=Side(said(1.0), said(3.0), said(0.08, 0.03)),
    shown=4,
)


def names(run):
    return [verdict.name for verdict in verdicts(run)]


def with_course(values, held_out=HELD_OUT, **more):
    return replace(GOOD, course=Course(curve(values), curve(held_out, 15)), **more)


def measured(**sides):
    """Return the good run with other figures: train=(tuned, start, share recited)."""
    found = {
        name: Side(said(tuned), said(start), said(exact, 0.04))
        for name, (tuned, start, exact) in sides.items()
    }
    return replace(GOOD, **found)


def test_a_healthy_run_is_healthy_only():
    assert names(GOOD) == ["healthy"]
    assert notes(GOOD) == []


@given(
    st.integers(10, 400),
    st.floats(1.0, 8.0),
    st.floats(0.05, 0.5),
    st.floats(0, 0.1),
    st.integers(0, 5),
)
@settings(max_examples=60)
def test_whatever_falls_and_stays_down_is_healthy(steps, start, share, wobble, seed):
    end = share * min(start, 2.5)
    loss = [max(0.0, value) for value in learned(steps, start, end, wobble, seed)]
    held_out = [end * factor for factor in (2, 1.3, 1.05, 1.06)]
    run = Run(Course(curve(loss), curve(held_out, steps // 4 or 1)))
    assert names(run) == ["healthy"]


FAULTY = {
    "overfit": with_course(learned(), [1.0, 0.95, 1.1, 1.3]),
    "underfit": with_course([2.8] * 60, [2.8] * 4),
    "diverged": with_course([*learned(40), *(3.0 + 0.01 * n for n in range(20))]),
    "memorised": measured(train=(0.9, 3.0, 0.8), validation=(1.0, 3.0, 0.1)),
    "did_nothing": measured(train=(2.999, 3.0, 0.0), validation=(3.001, 3.0, 0.0)),
}


@pytest.mark.parametrize("name", FAULTY)
def test_each_fault_is_named_and_only_it(name):
    (found,) = verdicts(FAULTY[name])
    assert found.name == name
    assert found.evidence and found.sentence.endswith(".")
    assert "training." in found.advice or "lora." in found.advice


@pytest.mark.parametrize("name", [*FAULTY, "healthy"])
@given(times=st.integers(2, 1000))
@settings(max_examples=10)
def test_the_scale_of_the_steps_does_not_matter(name, times):
    run = FAULTY.get(name, GOOD)

    def scaled(points):
        return [Point(times * p.step, p.value) for p in points]

    course = Course(*map(scaled, (run.course.loss, run.course.validation)))
    assert names(replace(run, course=course, kept_step=times * run.kept_step)) == [name]


@pytest.mark.parametrize(
    ("held_out", "turned"),
    [
        ([1.0, 0.9, 0.95, 1.0], True),
        ([1.0, 0.9, 0.95], False),  # one evaluation after the best: may be noise
        ([1.0, 0.9, 0.95, 0.94], False),  # it came down again
        ([1.0, 0.9, 0.905, 0.91], False),  # by less than 2 %
        ([0.9, 1.0, 1.1], True),
        ([0.9], False),
        ([], False),
    ],
)
def test_validation_loss_turns_when_it_rises_for_several_evaluations(held_out, turned):
    assert (turning_point(Course([], curve(held_out, 10))) is not None) is turned


def test_an_overfit_run_that_kept_its_best_weights_is_told_so():
    turned = [1.0, 0.9, 1.1, 1.3]
    kept = verdicts(with_course(learned(), turned, kept_step=30))[0]
    assert "weights of step 30 were kept" in kept.advice
    lost = verdicts(
        with_course(learned(), turned, kept_step=60, training={"load_best_model_at_end": False})
    )[0]
    assert lost.advice.startswith("Set training.load_best_model_at_end: true.")


@pytest.mark.parametrize(
    ("train", "validation", "overfit"),
    [
        ((0.6, 3.0, 0), (1.0, 3.0, 0), True),
        ((0.6, 3.0, 0), (0.85, 3.0, 0), False),
        # Validation rows were as much harder before: nothing was learned by heart.
        ((0.6, 2.6, 0), (1.0, 3.0, 0), False),
        # They were easier before and are as hard now: that is no gap.
        ((0.6, 3.4, 0), (0.7, 3.0, 0), False),
    ],
)
def test_the_gap_counts_from_what_it_was_before_training(train, validation, overfit):
    assert ("overfit" in names(measured(train=train, validation=validation))) is overfit


def test_a_gap_within_its_error_is_none():
    sides = {
        "train": Side(said(0.6, 0.2), said(3.0)),
        "validation": Side(said(1.0, 0.2), said(3.0)),
    }
    assert names(replace(GOOD, **sides)) == ["healthy"]


def test_a_gap_in_the_log_counts_where_nothing_was_measured():
    far = with_course(learned(), [2.0, 1.6, 1.5, 1.4], train=None, validation=None)
    assert names(far) == ["overfit"]
    assert names(replace(GOOD, train=None, validation=None)) == ["healthy"]


def test_a_low_loss_counts_only_with_nothing_held_out():
    falling = [3.0 * 0.93**n for n in range(60)]
    assert names(Run(Course(curve(falling)))) == ["overfit"]
    assert names(Run(Course(curve(falling), curve([1.0, 0.3, 0.1, 0.05], 15)))) == ["healthy"]
    assert names(Run(Course(curve(learned(end=0.3))))) == ["healthy"]  # low, and level


@pytest.mark.parametrize(
    ("train", "control", "memorised"),
    [
        (0.9, 0.1, True),
        (0.9, 0.85, False),  # decided by the prompt
        (0.15, 0.0, False),
        (0.0, 0.0, False),
    ],
)
def test_what_is_recited_counts_against_validation_rows(train, control, memorised):
    run = measured(train=(0.9, 3.0, train), validation=(1.0, 3.0, control))
    assert ("memorised" in names(run)) is memorised
    assert bool(notes(run)) is (control >= 0.5)


def test_few_rows_prove_no_memorising():
    few = {
        "train": Side(said(0.9), said(3.0), said(0.9, 0.1, 9)),
        "validation": Side(said(1.0), said(3.0), said(0.0, 0.1, 9)),
    }
    assert names(replace(GOOD, **few)) == ["healthy"]
    none = Side(said(None, None, 0), said(None, None, 0), said(None, None, 0))
    assert "memorised" not in names(replace(FAULTY["memorised"], validation=none))


def test_several_verdicts_may_hold():
    run = measured(train=(0.2, 3.0, 0.9), validation=(1.4, 3.0, 0.1))
    assert names(run) == ["memorised", "overfit"]


def test_a_loss_that_still_falls_fast_was_cut_short():
    falling = [6.0 * 0.985**n for n in range(60)]  # ends at 2.4
    (found,) = verdicts(Run(Course(curve(falling), curve([5.0, 4.0, 3.0, 2.5], 15))))
    assert found.name == "underfit"
    assert "fell by" in found.sentence


def test_answers_without_an_end_mean_that_the_format_is_not_followed():
    assert names(replace(GOOD, running_on=4)) == ["underfit"]
    assert names(replace(GOOD, running_on=3)) == ["healthy"]
    assert names(replace(GOOD, shown=2, running_on=2)) == ["healthy"]


def test_noise_alone_does_not_diverge():
    draw = random.Random(1)
    flat = [1.0 + draw.gauss(0, 0.6) for _ in range(40)]
    assert "diverged" not in names(with_course(flat))
    assert names(with_course([1.0] * 20 + [1.5] * 20)) == ["diverged"]


def test_losses_of_rows_that_come_in_an_order_may_rise():
    """Short rows first, say: their loss has a trend that is none of the training's."""
    assert names(with_course([1.0] * 20 + [1.5] * 20, ordered=True)) == ["healthy"]


@pytest.mark.parametrize("name", FAULTY)
def test_advice_about_an_adapter_goes_to_adapters_only(name):
    (said,) = verdicts(replace(FAULTY[name], method="full"))
    assert "lora." not in said.advice


def test_kept_weights_that_are_far_from_the_validation_rows_are_no_good_news():
    wide = measured(train=(0.2, 3.0, 0), validation=(1.0, 3.0, 0))
    turned = replace(wide, course=FAULTY["overfit"].course, kept_step=30)
    assert "were kept" not in verdicts(turned)[0].advice


def test_a_run_of_which_nothing_is_known_gets_no_verdict():
    assert verdicts(Run(Course(curve([3.0, 2.0])))) == []


def test_a_loss_that_stays_high_is_underfit_however_flat_its_end():
    values = [5.9 - 0.4 * (1 - (1 - n / 12) ** 2) for n in range(12)]
    run = with_course(values, [5.8, 5.6, 5.5, 5.5], train=None, validation=None)
    assert names(run) == ["underfit"]
    assert "5.5" in verdicts(run)[0].sentence
    assert names(with_course([v - 3 for v in values])) == ["healthy"]


def test_a_leap_that_came_back_is_told():
    course = learned(start=5.9, end=2.0)
    leap = [*course[:3], 33.0, 12.0, *course[5:]]
    assert notes(with_course(course)) == []
    (said,) = notes(with_course(leap))
    assert "33 at step 4" in said and "warmup_ratio" in said
    assert notes(with_course(leap, ordered=True)) == []
