"""Which evaluation of a training is the best one: the order that chooses the checkpoint to keep."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Entry = Mapping[str, Any]  # of the trainer's log


@dataclass(frozen=True)
class Best:
    """The figure by which evaluations are compared: the validation loss, or a metric of answers."""

    metric: str = "loss"
    greater_is_better: bool = False

    def rank(self, entry: Entry) -> tuple[float, float]:
        """Return what is lowest for the best evaluation; where a metric ties, the loss decides."""
        value = entry[f"eval_{self.metric}"]
        return (-value if self.greater_is_better else value, entry["eval_loss"])


BY_LOSS = Best()


def best_of(training: Mapping[str, Any]) -> Best:
    """Return what the settings of a training choose by; those that say nothing, by the loss."""
    if "metric_for_best_model" not in training:
        return BY_LOSS
    return Best(training["metric_for_best_model"], training["greater_is_better"])


def evaluations(log: Iterable[Entry]) -> list[Entry]:
    """Return the entries of a trainer's log that are evaluations, in the order of their steps."""
    return [entry for entry in log if "eval_loss" in entry]


def evaluations_since_best(log: Iterable[Entry], best: Best = BY_LOSS) -> int:
    """Return how many evaluations followed the best one; of equal ones the first is the best."""
    ranks = [best.rank(entry) for entry in evaluations(log)]
    return len(ranks) - 1 - ranks.index(min(ranks)) if ranks else 0


def had_stopped(checkpoint: Path, patience: int, best: Best = BY_LOSS) -> bool:
    """Return whether the training had come to its early end when this checkpoint was written."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return evaluations_since_best(state["log_history"], best) >= patience


def best_counts(log: Iterable[Entry], step: int | None, best: Best = BY_LOSS) -> dict[str, Any]:
    """Return the best step with its validation loss and, if it was chosen by one, its metric.

    All of it is None where nothing was evaluated.
    """
    entry = next((e for e in evaluations(log) if e["step"] == step), {})
    counts = {"best_step": step, "best_eval_loss": entry.get("eval_loss")}
    if best != BY_LOSS:
        counts["best_by"] = best.metric
        counts[f"best_eval_{best.metric}"] = entry.get(f"eval_{best.metric}")
    return counts
