"""What stands beside the verdicts on a training: no fault of it, or one that has passed."""

from __future__ import annotations

from sftflow.diagnosis import FEWEST_ROWS, MOST_RECITED, diverged
from sftflow.signs import Run, known

#: From this share on, answers of validation rows are said word for word often.
OFTEN = 0.5
#: A loss that leaps by its own height, and by this at least (nats), was thrown out of its course.
LEAST_LEAP = 1.0


def notes(run: Run) -> list[str]:
    """Return what looks like a fault and is none, or was one and has passed."""
    return [said for said in (_leapt(run), _said_alike(run)) if said is not None]


def _leapt(run: Run) -> str | None:
    """Say where training loss leapt up and came back, which diverged() has no fault in."""
    highest = None  # before
    for point in () if run.ordered or diverged(run, set()) else run.course.loss:
        if highest is not None and point.value > highest + max(LEAST_LEAP, highest):
            return (
                f"Training loss leapt to {point.value:.3g} at step {point.step}, where it had been "
                f"{highest:.3g} at most, and came back: raise training.warmup_ratio or lower "
                "training.learning_rate, for what was known before may be lost."
            )
        highest = max(point.value, highest or 0.0)
    return None


def _said_alike(run: Run) -> str | None:
    """Say why many answers are recited without any memorising."""
    if run.train is None or run.validation is None:
        return None
    mine, control = run.train.exact, run.validation.exact
    few = not (known(mine) and known(control)) or min(mine["n"], control["n"]) < FEWEST_ROWS
    if few or control["value"] < OFTEN or mine["value"] - control["value"] > MOST_RECITED:
        return None
    return (
        f"The model says {mine['value']:.0%} of the answers of training rows word for word, but "
        f"also {control['value']:.0%} of those of validation rows, which it never saw: the prompts "
        "decide the answers, so this is no memorising."
    )
