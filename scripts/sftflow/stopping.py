"""Early stopping on the validation loss, read from the log so that a resumed run stops alike."""

from __future__ import annotations

from transformers import TrainerCallback

from sftflow.history import evaluations_since_best


class EarlyStopping(TrainerCallback):
    """Stop after ``patience`` evaluations without a new lowest validation loss.

    transformers' own counts in an attribute that is not restored by default.
    """

    def __init__(self, patience: int) -> None:
        """Stop after so many evaluations."""
        self.patience = patience

    def on_evaluate(self, _args, state, control, **_kwargs) -> None:
        """Stop where the log says so; the loss of this evaluation is in it."""
        if evaluations_since_best(state.log_history) >= self.patience:
            control.should_training_stop = True
