"""Early stopping on evaluations, read from the log so that a resumed run stops alike."""

from __future__ import annotations

from transformers import TrainerCallback

from sftflow.bestcheckpoint import Best, evaluations_since_best


class EarlyStopping(TrainerCallback):
    """Stop after ``patience`` evaluations without a new best one.

    transformers' own counts in an attribute that is not restored by default.
    """

    def __init__(self, patience: int, best: Best) -> None:
        """Stop after so many evaluations."""
        self.patience, self.best = patience, best

    def on_evaluate(self, _args, state, control, **_kwargs) -> None:
        """Stop where the log says so; this evaluation is in it."""
        if evaluations_since_best(state.log_history, self.best) >= self.patience:
            control.should_training_stop = True
