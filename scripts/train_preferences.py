"""Fit a model to preference pairs by DPO: its answers move towards those that are preferred.

reads   templated/{train,validation}.parquet (of pairs); model/ (the start model, which is the
        reference: as a rule the merged model of a supervised run)
writes  adapter/, history.csv, samples/ and manifest.json as train_adapter does; history.csv also
        has reward_accuracy, reward_margin, chosen_reward and rejected_reward, and each of them
        with eval_ before it; preferences.json: {pairs, and of the validation pairs with the kept
        weights reward_accuracy, reward_margin, chosen_reward, rejected_reward: {value, stderr, n}}
keeps   checkpoints/<fingerprint>/ to continue from after any kill, with the same result

An adapter's reference is the start model without it; where the model's own weights are trained,
a second copy of the start model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sftflow.estimates import mean_estimate
from sftflow.launching import is_first
from sftflow.manifests import write_json
from sftflow.methods import METHODS
from sftflow.stage import console, run_stage
from train_adapter import Run, main

REWARDS = ("reward_accuracy", "reward_margin", "chosen_reward", "rejected_reward")


class PreferenceRun(Run):
    """One training on pairs."""

    stage = "train_preferences"

    @property
    def logged(self) -> dict[str, str]:
        """Return TRL's names of the rewards -> columns of history.csv."""
        from sftflow.preferencetrainer import REWARDS as NAMES

        return NAMES | {f"eval_{name}": f"eval_{column}" for name, column in NAMES.items()}

    def settings(self, evaluates: bool) -> Any:
        """Return the trainer's settings."""
        from sftflow.preferencetrainer import preference_settings

        training, dpo = self.spec["training"], self.spec["dpo"]
        return preference_settings(training, dpo, self.plan, self.folder, self.dtype, evaluates)

    def trainer_of(self, **parts: Any) -> Any:
        """Return the trainer with its reference model."""
        from sftflow.preferencetrainer import PairCollator, PreferenceTrainer
        from sftflow.training import start_model

        method = self.spec["method"]
        plain = METHODS[method].plain
        reference = start_model(self.args.model, method, self.dtype) if plain else None
        parts |= {"data_collator": PairCollator(self.tokenizer.pad_token_id)}
        return PreferenceTrainer(ref_model=reference, **parts)

    def check(self, trainer: Any) -> None:
        """Raise StageError if the trainer would not train on our tokens."""
        from sftflow.preferencetrainer import check_pairs

        check_pairs(trainer, self.train)

    def watch(self, vocabulary: int) -> Any:
        """Return what guards the training."""
        from sftflow.preferencetrainer import PreferenceWatch

        return PreferenceWatch(vocabulary, self.spec["dpo"])

    def measure(self, trainer: Any) -> dict[str, Any]:
        """Measure the rewards of the kept weights on the validation pairs; return no counts."""
        pairs = trainer.rewards(self.validation) if len(self.validation) else []
        self.measured = {"pairs": len(pairs), **reward_figures(pairs)}
        if pairs and is_first():
            accuracy, margin = (self.measured[name]["value"] for name in REWARDS[:2])
            console().say(
                f"{accuracy:.1%} of {len(pairs)} validation pairs ranked right, margin {margin:.3f}"
            )
        return {}

    def write_more(self) -> list[Path]:
        """Write preferences.json."""
        write_json(self.args.preferences, self.measured)
        return [self.args.preferences]


def reward_figures(pairs: list[tuple[float, float]]) -> dict[str, dict[str, Any]]:
    """Return the mean of each of REWARDS over pairs of rewards (preferred, other answer)."""
    values = {
        "reward_accuracy": [float(chosen > rejected) for chosen, rejected in pairs],
        "reward_margin": [chosen - rejected for chosen, rejected in pairs],
        "chosen_reward": [chosen for chosen, _ in pairs],
        "rejected_reward": [rejected for _, rejected in pairs],
    }
    return {name: mean_estimate(values[name]) for name in REWARDS}


if __name__ == "__main__":
    run_stage(lambda argv: main(argv, PreferenceRun, __file__, ("preferences",)))
