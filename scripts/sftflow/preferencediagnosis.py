"""Named verdicts on a training on preference pairs: what its rewards and its curves say.

Pure functions. The loss of pairs is no loss per token, so the thresholds of diagnosis.py on the
level of a loss mean nothing here; whether pairs that were held out are ranked right does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sftflow.diagnosis import FEWEST_ROWS, Verdict, diverged, memorised
from sftflow.signs import ERRORS, Run, known, turning_point

CHANCE = 0.5

Rewards = Mapping[str, Any]  # a preferences.json


def preference_verdicts(run: Run, rewards: Rewards) -> list[Verdict]:
    """Return what holds of a run on pairs, gravest first; ``healthy`` alone if nothing else does.

    A run without enough validation pairs, in whose course nothing is wrong, gets none.
    """
    found = [diverged(run, set()), by_chance(rewards), memorised(run, set()), turned(run)]
    said = [verdict for verdict in found if verdict is not None]
    if said or not enough(rewards):
        return said
    accuracy, margin = rewards["reward_accuracy"]["value"], rewards["reward_margin"]["value"]
    ranked = f"{accuracy:.0%} of {rewards['pairs']} validation pairs are ranked right"
    figures = {"reward_accuracy": accuracy, "reward_margin": margin}
    text = f"{ranked}, by a margin of {margin:.3g}."
    return [Verdict("healthy", text, "Nothing to change.", figures)]


def enough(rewards: Rewards) -> bool:
    """Say whether there are validation pairs enough to judge by."""
    return rewards["pairs"] >= FEWEST_ROWS and known(rewards["reward_accuracy"])


def by_chance(rewards: Rewards) -> Verdict | None:
    """Look for a model that ranks pairs that it has not seen no better than by chance."""
    if not enough(rewards):
        return None
    accuracy = rewards["reward_accuracy"]
    error = accuracy["stderr"] or 0.0
    if accuracy["value"] - CHANCE > ERRORS * error:
        return None
    return Verdict(
        "underfit",
        f"{accuracy['value']:.0%} of {rewards['pairs']} validation pairs are ranked right, which "
        "is no more than chance.",
        "Raise training.learning_rate or training.num_train_epochs, or take more validation "
        "pairs; if that does not help, look whether the pairs prefer one kind of answer.",
        {"reward_accuracy": accuracy["value"], "stderr": error},
    )


def turned(run: Run) -> Verdict | None:
    """Look for a loss on validation pairs that rose again."""
    best = turning_point(run.course)
    if best is None:
        return None
    last = run.course.validation[-1].value
    return Verdict(
        "overfit",
        f"The loss on validation pairs was lowest ({best.value:.3g}) at step {best.step} and rose "
        f"to {last:.3g}.",
        f"The weights of step {best.step} were kept; lower training.num_train_epochs."
        if run.kept_step == best.step
        else "Lower training.num_train_epochs or training.learning_rate, raise dpo.beta, or set "
        "training.load_best_model_at_end: true.",
        {"best_validation_loss": best.value, "best_step": best.step, "last_validation_loss": last},
    )


def preference_notes(rewards: Rewards) -> list[str]:
    """Return what is usual in training on pairs, and good to know."""
    chosen = rewards["chosen_reward"]
    if not enough(rewards) or chosen["value"] >= -ERRORS * (chosen["stderr"] or 0.0):
        return []
    return [
        f"The preferred answers have become less likely, too (reward {chosen['value']:.3g}), only "
        "less so than the others. That is usual (arXiv:2410.08847); if answers get strange, set "
        "dpo.rpo_alpha: 1 or lower training.learning_rate."
    ]
