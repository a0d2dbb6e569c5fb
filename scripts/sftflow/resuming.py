"""From which checkpoint a training goes on, so that it ends as one that was never stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.bestcheckpoint import Best, evaluations_since_best, had_stopped
from sftflow.checkpoints import newest_valid, step_of


def newest_to_resume(
    folder: Path, steps: int, training: Mapping[str, Any], best: Best
) -> tuple[Path | None, list[str]]:
    """Return the checkpoint to go on from, None at the start, and what is to be said.

    ``steps``: of the whole training. ``training``: its settings.
    """
    # transformers (5.19) looks at max_steps after a step only: continued at the last one, in the
    # middle of an epoch, it takes one more. At the end of an epoch it does not.
    last = steps - (1 if training["max_steps"] else 0)
    newest, notes = newest_valid(folder, last)
    patience = training["early_stopping_patience"]
    while newest and patience and had_stopped(newest, patience, best):
        # The trainer would take a step more: it comes to its early end again instead.
        newest, more = newest_valid(folder, step_of(newest) - 1)
        notes += more
    return newest, notes


def stopped_early(log: Sequence[Mapping[str, Any]], patience: int | None, best: Best) -> bool:
    """Return whether a training ended because it got no better for so many evaluations."""
    return bool(patience) and evaluations_since_best(log, best) >= patience
