"""TRL's DPO trainer on pairs that are tokens already, and what is measured of it.

A pair's row has input_ids (prompt and preferred answer), rejected_ids (the other answer) and
answer_start (tokens of the prompt). The reward of an answer is beta times how much more likely
the policy makes it than the reference model (nats, summed over its tokens); a pair is ranked right
if the preferred answer has the higher reward (Rafailov et al. 2023, arXiv:2305.18290).

Imported only where a training runs, because it needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from sftflow.nonfinite import StopsAtNoNumber
from sftflow.stage import StageError
from sftflow.trainer import Resumable, Watch
from sftflow.training import Schedule, shared_settings

COLUMNS = ("input_ids", "rejected_ids", "answer_start")
#: TRL's names of what is measured, and those of history.csv; eval_ goes before both.
REWARDS = {
    "rewards/accuracies": "reward_accuracy",
    "rewards/margins": "reward_margin",
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
}
#: Relative distance of the first loss from that of a policy that is its reference, in half
#: precision and with the order of additions of another batch.
FIRST_LOSS_WITHIN = 0.02


def preference_settings(
    training: Mapping[str, Any],
    dpo: Mapping[str, Any],
    plan: Schedule,
    folder: Path,
    dtype: str,
    evaluates: bool,
) -> DPOConfig:
    """Return TRL's DPOConfig; ``rpo_alpha`` adds the loss of imitating the preferred answer."""
    added = dpo["rpo_alpha"] is not None
    return DPOConfig(
        **shared_settings(training, plan, folder, dtype, evaluates),
        beta=dpo["beta"],
        loss_type=[dpo["loss_type"], *(["sft"] if added else [])],
        loss_weights=[1.0, dpo["rpo_alpha"]] if added else None,
        label_smoothing=dpo["label_smoothing"],
        disable_dropout=True,
        precompute_ref_log_probs=False,
        # The balance of a model's experts would hide that the first loss is known, and measured
        # losses would not be those of the pairs.
        router_aux_loss_coef=0.0,
    )


def loss_of_equals(dpo: Mapping[str, Any]) -> float | None:
    """Return the loss where the policy is still the reference; None if it depends on the rows."""
    if dpo["rpo_alpha"] is not None:
        return None
    if dpo["loss_type"] == "ipo":
        return 1 / (2 * dpo["beta"]) ** 2
    return 1.0 if dpo["loss_type"] in ("hinge", "apo_zero", "apo_down") else math.log(2)


class PairCollator:
    """Lays pairs out as TRL does, preferred answers first, from our tokens."""

    def __init__(self, pad_token_id: int) -> None:
        """Pad with this token, on the right."""
        self.collate = DataCollatorForPreference(pad_token_id=pad_token_id)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return input_ids, attention_mask and completion_mask, each (2 pairs, length)."""
        return self.collate(
            [
                {
                    "prompt_ids": row["input_ids"][: row["answer_start"]],
                    "chosen_ids": row["input_ids"][row["answer_start"] :],
                    "rejected_ids": row["rejected_ids"],
                }
                for row in rows
            ]
        )


@contextmanager
def by_itself(accelerator: Any) -> Iterator[None]:
    """Let a process compute a loss without the figures of others, which TRL gathers for its log."""
    names = ("gather", "gather_for_metrics")
    for name in names:
        setattr(accelerator, name, lambda own: own)
    try:
        yield
    finally:
        for name in names:
            delattr(accelerator, name)


class PreferenceTrainer(Resumable, StopsAtNoNumber, DPOTrainer):
    """DPOTrainer on rows that are tokens already."""

    def _prepare_dataset(self, dataset, *_args, **_kwargs):
        """Return the rows as they are: the parent would render and tokenise texts once more."""
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = list(COLUMNS)

    def row_lengths(self) -> list[int]:
        """Return the longer sequence of each pair (tokens)."""
        rows = self.train_dataset.with_format(None)
        both = zip(rows["length"], rows["answer_start"], rows["rejected_ids"], strict=True)
        return [max(length, start + len(other)) for length, start, other in both]

    def token_counts(self) -> dict[str, Any]:
        """Return nothing: what was computed is not counted for pairs."""
        return {}

    def validation(self, eval_dataset=None) -> dict[str, float]:
        """Return the loss and REWARDS as means over all pairs; the parent's are over batches.

        Each process goes through its pairs by itself: one may have a batch more than another.
        """
        training = self.model.training
        self.model.eval()
        names = ("loss", *REWARDS)
        total = torch.zeros(len(names) + 1, dtype=torch.float64, device=self.accelerator.device)
        for batch in self.get_eval_dataloader(eval_dataset):
            inputs = self._prepare_inputs(batch)
            pairs = len(inputs["input_ids"]) // 2
            with (
                torch.no_grad(),
                self.compute_loss_context_manager(),
                by_itself(self.accelerator),
            ):
                loss = self.compute_loss(self.model, inputs).item()
            said = self._metrics["eval"]
            means = [loss, *(said[name][-1] for name in REWARDS), 1.0]
            total += pairs * torch.tensor(means, dtype=torch.float64, device=total.device)
        self._metrics["eval"].clear()  # the parent's log() would write them beside ours
        *sums, pairs = self.accelerator.reduce(total, reduction="sum").tolist()
        self.model.train(training)
        return {name: value / pairs for name, value in zip(names, sums, strict=True)}

    def rewards(self, rows: Any) -> list[tuple[float, float]]:
        """Return the rewards of each pair of ``rows``: preferred answer, other answer."""
        training, found = self.model.training, []
        self.model.eval()
        loader = self.get_eval_dataloader(rows)
        for batch in loader:
            inputs = self._prepare_inputs(batch)
            with torch.no_grad(), self.compute_loss_context_manager():
                policy = self._log_probs(inputs)
                reference = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
            sides = [self.beta * (of - by) for of, by in zip(policy, reference, strict=True)]
            found += zip(*(side.tolist() for side in sides), strict=True)
        self.model.train(training)
        numbered = list(zip(loader.batch_sampler.sampler, found, strict=True))
        if self.args.world_size > 1:
            numbered = gather_object(numbered)
        return [reward for _, reward in sorted(numbered)]

    def _log_probs(self, inputs: Mapping[str, Any]) -> Any:
        """Return the log-probabilities of both answers of each pair, as the parent sums them."""
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        said = {key: inputs[key] for key in ("input_ids", "attention_mask")}
        output = self.model(**said, use_cache=False, labels=labels, fused_lm_head=True)
        return output.log_probs.sum(dim=1).chunk(2, dim=0)


class PreferenceWatch(Watch):
    """As Watch; the policy begins as its reference, so the first loss is known."""

    def __init__(self, vocabulary: int, dpo: Mapping[str, Any]) -> None:
        """Judge the first loss by what ``dpo`` says."""
        super().__init__(vocabulary)
        self.expected = loss_of_equals(dpo)

    def check_first(self, loss: float) -> None:
        """Raise StageError if the start model is not the reference."""
        if self.expected is None:
            return
        if not abs(loss - self.expected) <= FIRST_LOSS_WITHIN * self.expected:
            raise StageError(
                f"the loss of step 1 is {loss:.4g}, and {self.expected:.4g} where policy and "
                "reference are the same model: they are not, so no reward means anything"
            )


def check_pairs(trainer: Any, rows: Any) -> None:
    """Raise StageError if the trainer lost pairs or would train on other tokens than ours."""
    if len(trainer.train_dataset) != len(rows):
        raise StageError(f"the trainer kept {len(trainer.train_dataset)} of {len(rows)} pairs")
    first = range(min(len(rows), trainer.args.per_device_train_batch_size))
    batch = trainer.data_collator([rows[i] for i in first])
    seen = [
        (ids[kept == 1].tolist(), ids[said == 1].tolist())
        for ids, kept, said in zip(
            batch["input_ids"], batch["attention_mask"], batch["completion_mask"], strict=True
        )
    ]
    meant = [sequences(rows[i]) for i in first]
    if seen != [pair[0] for pair in meant] + [pair[1] for pair in meant]:
        raise StageError("the first batch does not hold the tokens of the templated pairs")


def sequences(row: Mapping[str, Any]) -> list[tuple[list[int], list[int]]]:
    """Return for both answers of a pair all tokens and, of them, those of the answer."""
    prompt = row["input_ids"][: row["answer_start"]]
    answers = row["input_ids"][row["answer_start"] :], row["rejected_ids"]
    return [(prompt + answer, list(answer)) for answer in answers]
