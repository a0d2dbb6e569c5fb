"""Signs in the course and the losses of a training on which verdicts rest: pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sftflow.course import Course, Point, noise, parts

#: Fewer logged steps than this are no curve.
FEWEST_STEPS = 4
#: Validation loss minus training loss (nats per token) from which a run counts as overfit.
MOST_GAP = 0.3
#: How many evaluations in a row must rise: one may be noise.
RISING_EVALUATIONS = 2
#: By how much of its lowest value validation loss must have risen to have turned.
LEAST_RISE = 0.02
#: Differences between sides count from this many standard errors on.
ERRORS = 2.0

Estimate = Mapping[str, Any]  # value, stderr, n


@dataclass(frozen=True)
class Side:
    """Training or validation rows: loss per token after training and before, and recitation."""

    tuned: Estimate
    start: Estimate
    exact: Estimate | None = None


@dataclass(frozen=True)
class Run:
    """All that a run is judged by; what is not known is None or empty."""

    course: Course
    training: Mapping[str, Any] = field(default_factory=dict)  # the run's settings of that name
    method: str = "lora"
    ordered: bool = False  # the rows came in an order that was asked for: their losses have a trend
    kept_step: int | None = None
    train: Side | None = None
    validation: Side | None = None
    shown: int = 0  # answers that were shown at the last evaluation
    running_on: int = 0  # of these, far longer than the reference and not ended
    answers: int = 0  # prompts that the tuned model and the start model answered, both greedily
    unchanged: int = 0  # of these, answered word for word alike
    right_before: int = 0  # of these, answered as the reference by the start model already


def turning_point(course: Course) -> Point | None:
    """Return the lowest validation loss if it rose ever since, None if it did not turn."""
    best, after = course.best, course.after_best
    if best is None or len(after) < RISING_EVALUATIONS:
        return None
    last = [p.value for p in (best, *after)][-RISING_EVALUATIONS - 1 :]
    rising = all(a < b for a, b in pairwise(last))
    return best if rising and last[-1] > (1 + LEAST_RISE) * best.value else None


def gap_of(run: Run) -> dict[str, float] | None:
    """Return how far the loss on validation rows lies above that on training rows, in nats.

    Validation rows may be harder before any training: that much is no overfitting, and is taken
    off. Where the model was not measured on training rows, its own log must do: the last
    validation loss, and the mean of the last tenth of the steps.
    """
    if run.train is not None and run.validation is not None:
        mine, held = both(run.train), both(run.validation)
        if mine is None or held is None:
            return None
        errors = [side.tuned["stderr"] or 0 for side in (run.train, run.validation)]
        now, before, error = held[0] - mine[0], held[1] - mine[1], math.hypot(*errors)
    elif run.course.validation and len(run.course.loss) >= FEWEST_STEPS:
        now = run.course.validation[-1].value - parts(run.course.loss)[-1]
        before, error = 0.0, noise(run.course.loss)
    else:
        return None
    return {"gap": now, "gap_before": before, "gap_error": error}


def is_wide(gap: Mapping[str, float]) -> bool:
    """Say whether a gap has grown beyond what is usual and beyond its error."""
    grown = gap["gap"] - max(0.0, gap["gap_before"])
    return grown > max(MOST_GAP, ERRORS * gap["gap_error"])


def late_fall(run: Run) -> float | None:
    """Return by which share training loss fell from the last tenth but one to the last."""
    points = run.course.loss
    tenths = parts(points)
    if len(points) < FEWEST_STEPS or not tenths[-2]:
        return None
    fall = tenths[-2] - tenths[-1]
    return fall / tenths[-2] if fall > 3 * noise(points) else 0.0


def both(side: Side) -> tuple[float, float] | None:
    """Return a side's loss after training and before, None unless both are known."""
    if not (known(side.tuned) and known(side.start)):
        return None
    return side.tuned["value"], side.start["value"]


def known(estimate: Estimate | None) -> bool:
    """Say whether there is a figure."""
    return estimate is not None and estimate["value"] is not None
