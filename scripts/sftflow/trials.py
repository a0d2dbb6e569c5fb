"""The trials of a search: what is kept of each, which one is best.

A trial.json is {run, trial, settings: {key: value}, loss, diverged}: ``loss`` is the validation
loss of the weights that were kept (nats per token), null where the training came to a loss that
is no number; then ``diverged`` is the sentence with which it stopped, else null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sftflow.course import Course
from sftflow.measured import read_object
from sftflow.stage import StageError

PARTS = {"run", "trial", "settings", "loss", "diverged"}
#: With these words a training stops whose loss or gradient is no finite number (nonfinite.py and
#: the trainer's guard); from one of several processes nothing but the sentence comes back.
NO_NUMBER = re.compile(r"^(the )?(loss|eval_loss|gradient norm) is (nan|-?inf) at step \d+")

Trial = Mapping[str, Any]


def has_diverged(sentence: str) -> bool:
    """Return whether a training that stopped with this sentence diverged; all else is a fault."""
    return NO_NUMBER.match(sentence) is not None


def kept_loss(counts: Mapping[str, Any], course: Course) -> float | None:
    """Return the validation loss of the weights that a training kept, None if it has none.

    Of the last step's weights it is that of the last evaluation, which may be some steps before.
    """
    if "averaged_eval_loss" in counts:
        return counts["averaged_eval_loss"]
    if not course.validation:
        return None
    before = [p for p in course.validation if p.step <= counts["kept_step"]]
    return before[-1].value if before else None


def read_trial(path: Path) -> dict[str, Any]:
    """Return a trial.json; raise StageError if it does not have its shape."""
    said = read_object(path)
    if not said.keys() >= PARTS:
        raise StageError(f"{path} does not have the shape of train_trial; delete it and rerun")
    return said


def best_trial(trials: Iterable[Trial]) -> Trial:
    """Return the trial with the lowest validation loss, the first of equal ones.

    Raises StageError if every trial diverged.
    """
    trials = list(trials)
    trained = [trial for trial in trials if trial["loss"] is not None]
    if not trained:
        first = trials[0]
        raise StageError(
            f"every one of the {len(trials)} trials of run {first['run']} diverged, so there is "
            f"nothing to choose: lower search.space.training.learning_rate, or look at the data; "
            f"trial {first['trial']}: {first['diverged']}"
        )
    return min(trained, key=lambda trial: (trial["loss"], trial["trial"]))
