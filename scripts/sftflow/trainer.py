"""TRL's trainer with what this workflow adds: exact resume, sealed checkpoints, guards.

Imported only where a training runs, because it needs torch.
"""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, TrainerCallback
from trl import SFTTrainer

from sftflow.bestcheckpoint import BY_LOSS, Best, evaluations_since_best
from sftflow.checkpoints import prune, seal
from sftflow.nonfinite import StopsAtNoNumber
from sftflow.ranks import all_ranks, orthogonality
from sftflow.roworder import KeptOrder, computed_tokens, row_sampler
from sftflow.shares import DealsRows, any_process, tokens_with_loss_rows, without_loss
from sftflow.stage import Progress, StageError
from sftflow.tokenweights import WeighsTokens, loss_total
from sftflow.trainstate import has_state, load_model, load_state, save_state

if TYPE_CHECKING:  # only runs that ask for these rest on them (askedmodules.py)
    from sftflow.averaging import Average
    from sftflow.ewc import Anchor

logger = logging.getLogger("sftflow")


def score_trained_positions_only() -> None:
    """Let TRL's fused output head leave out positions without loss on a CPU, as on a GPU.

    Elsewhere it scores every position, because a changing number of them would recompile
    kernels; a CPU compiles none. Measured: a tenth of a step's time where a quarter of the
    tokens carries loss. The loss is the same (tests/unit/test_trainer.py).
    """
    import trl.trainer.utils

    if not torch.cuda.is_available():
        trl.trainer.utils._use_triton = lambda _device: True  # read for this choice only


class Resumable(DealsRows):
    """Mixed into a trainer of TRL: its own order of rows, sealed checkpoints, the best weights."""

    kept_order: str | None = None  # as in KeptOrder; None shuffles
    batching = "grouped"  # as in row_sampler
    own_optimizer: Callable[[MaskedTrainer], Any] | None = None  # None: the same rate for all
    own_state = False  # checkpoints hold what PEFT does not save of this method
    ranked = False  # AdaLoRA
    average: Average | None = None  # of the weights at several steps
    best: Best = BY_LOSS  # chooses the checkpoint to keep
    generation: Any = None  # an EvalGeneration, if the model answers at evaluations

    def create_optimizer(self, model=None):
        """Return the optimizer, made anew if the method has one of its own."""
        if self.optimizer is None and self.own_optimizer is not None:
            self.optimizer = self.own_optimizer(self)
        return super().create_optimizer(model)

    def _save(self, output_dir=None, state_dict=None) -> None:
        if state_dict is not None:  # gathered from shards, where tied weights are copies
            tied = getattr(self.model, "all_tied_weights_keys", None) or {}
            state_dict = {name: w for name, w in state_dict.items() if name not in tied}
        with all_ranks(self.model) if self.ranked else nullcontext():
            super()._save(output_dir, state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None) -> None:
        if self.average is not None:
            self.average.load(Path(resume_from_checkpoint), self.model.device)
        if not self._put_back(Path(resume_from_checkpoint)):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def load_best(self) -> None:
        """Put the weights of the best evaluation into the model."""
        best = Path(self.args.output_dir) / f"checkpoint-{self.state.best_global_step}"
        if not self._put_back(best):
            self._load_best_model()

    def _put_back(self, checkpoint: Path) -> bool:
        """Put back a checkpoint's weights; return False if that is left to the parent."""
        if has_state(checkpoint):
            load_state(self.model, checkpoint)
        elif isinstance(self.model, PreTrainedModel) and not (
            self.is_fsdp_enabled or self.is_deepspeed_enabled
        ):
            load_model(self.model, checkpoint)
        else:
            return False
        return True

    def _get_train_sampler(self, train_dataset=None):  # noqa: ARG002 - comes without lengths
        lengths = self.row_lengths()
        if self.kept_order is not None:
            return KeptOrder(lengths, self.kept_order)
        batch = self.args.per_device_train_batch_size
        return row_sampler(lengths, self.batching, self._step_rows(), batch, self.args.seed)

    def _step_rows(self) -> int:
        """Return the rows behind an optimizer step, all processes together."""
        args = self.args
        batches = args.gradient_accumulation_steps * args.world_size
        return args.per_device_train_batch_size * batches

    def token_counts(self) -> dict[str, Any]:
        """Return how many tokens the steps taken computed, padding included."""
        real, computed = computed_tokens(
            self._get_train_sampler(),
            self.row_lengths(),
            self._step_rows(),
            self.args.per_device_train_batch_size,
            self.state.global_step,
            self.batching == "packed",
        )
        return {"computed_tokens": computed, "efficiency": round(real / computed, 4)}

    def create_model_card(self, *_args, **_kwargs) -> None:
        """Write none: it would go beside the checkpoints."""

    def _save_checkpoint(self, model, trial) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            folder = Path(self.args.output_dir)
            if self.own_state:
                save_state(self.model, folder / f"checkpoint-{self.state.global_step}")
            if self.average is not None:
                self.average.save(folder / f"checkpoint-{self.state.global_step}")
            seal(folder / f"checkpoint-{self.state.global_step}")
            prune(folder, self.state.best_global_step)

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):  # noqa: ARG002
        """Log the validation loss and scores of answers, and tell those who wait for them."""
        training = self.model.training
        self.model.eval()  # the parent's log() looks at it
        measured = self.validation(eval_dataset)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in measured.items()}
        if self.generation is not None:
            metrics |= self.generation.evaluate(self)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        self.model.train(training)
        return metrics

    def _determine_best_metric(self, metrics, trial) -> bool:  # noqa: ARG002
        """Keep the weights of each new best evaluation; it is the last one in the log."""
        if evaluations_since_best(self.state.log_history, self.best):
            return False
        self.state.best_metric = metrics[f"eval_{self.best.metric}"]
        self.state.best_global_step = self.state.global_step
        self.control.should_save = True
        return True

    def validation(self, eval_dataset=None) -> dict[str, float]:
        """Return what is measured on validation rows: the loss, and what else a trainer has."""
        raise NotImplementedError

    def row_lengths(self) -> Any:
        """Return how long each training row is, padding aside (tokens)."""
        return self.train_dataset["length"]


class MaskedTrainer(Resumable, StopsAtNoNumber, WeighsTokens, SFTTrainer):
    """SFTTrainer on rows that already have labels."""

    anchor: Anchor | None = None  # EWC

    silent_fillers = True

    def filler(self, row):
        """Return a row that carries no loss, for where rows lack."""
        return without_loss(row)

    def _track_num_input_tokens(self, inputs) -> None:
        """Count the tokens of rows, without those of fillers."""
        if self.args.world_size == 1:
            super()._track_num_input_tokens(inputs)
        else:
            tokens = self.accelerator.gather(tokens_with_loss_rows(inputs))
            self.state.num_input_tokens_seen += int(tokens.sum())

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the loss; in training it also has the gradient of what else is asked for.

        AdaLoRA pulls matrices towards orthogonal ones, EWC weights towards those of the start.
        Such a pull has a gradient and no value, so that losses can be compared between runs.
        """
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if not self.model.training:
            return loss
        pulls = [orthogonality(self.model)] if self.ranked else []
        pulls += [self.anchor.penalty()] if self.anchor else []
        # The loss of a part of a batch is its share of the sum; so must these be.
        steps = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps
        return loss + sum((pull - pull.detach()) / steps for pull in pulls)

    def validation(self, eval_dataset=None) -> dict[str, float]:
        """Return the validation loss."""
        return {"loss": self.validation_loss(eval_dataset)}

    def validation_loss(self, eval_dataset=None) -> float:
        """Return the mean loss per trained token (by weight, if rows have weights).

        The parent's is a mean of batch means, and has the balance of a model's experts in it.
        """
        training, balanced = self.model.training, self.aux_loss_enabled
        self.model.eval()
        self.aux_loss_enabled = False
        total = torch.zeros(2, dtype=torch.float64, device=self.accelerator.device)
        for batch in self.get_eval_dataloader(eval_dataset):
            inputs = self._prepare_inputs(batch)
            count = loss_total(inputs)
            with torch.no_grad(), self.compute_loss_context_manager():
                loss = self.compute_loss(self.model_wrapped, inputs)
            if count:  # a batch of fillers has no mean
                total += torch.stack([loss.double() * count, count.double()])
        nll, tokens = self.accelerator.reduce(total, reduction="sum").tolist()
        self.model.train(training)
        self.aux_loss_enabled = balanced
        return nll / tokens


class Watch(TrainerCallback):
    """Progress lines and guards: a training that can't succeed ends here, with a sentence."""

    def __init__(self, vocabulary: int) -> None:
        """Judge the first loss against that of uniform guesses among ``vocabulary`` tokens."""
        self.most_at_first = 2 * math.log(vocabulary)
        self.progress: Progress | None = None
        self.note = ""
        self.stopping = False

    def on_train_begin(self, _args, state, _control, **_kwargs) -> None:
        """Start the clock (a resumed training has fewer steps to go); heed SIGTERM."""
        signal.signal(signal.SIGTERM, self._stop)
        self.progress = Progress(max(state.max_steps - state.global_step, 1), "steps")

    def _stop(self, _number, _frame) -> None:
        self.stopping = True

    def on_step_end(self, args, state, control, **_kwargs) -> None:
        """Show the rate and when the training will be done; after SIGTERM save and stop."""
        if self.progress and state.is_world_process_zero:
            self.progress.add(note=self.note)
        if any_process(self.stopping, args):  # at the same step in all of them
            control.should_save = control.should_training_stop = True

    def on_log(self, args, state, _control, logs=None, **_kwargs) -> None:
        """Stop at a loss that is no number, and at a first loss that can't be right."""
        logs = logs or {}
        for name in ("loss", "eval_loss"):
            if name in logs and not math.isfinite(float(logs[name])):
                raise StageError(
                    f"{name} is {logs[name]} at step {state.global_step}: the training diverged; "
                    "lower training.learning_rate or look at the data"
                )
        if "eval_loss" in logs:
            self.note = f"{self.note.split(', val')[0]}, validation {logs['eval_loss']:.4f}"
        if "loss" not in logs:
            return
        loss, norm = float(logs["loss"]), float(logs.get("grad_norm", 1.0))
        if state.global_step == 1:
            self.check_first(loss)
        if not args.fp16 and (not math.isfinite(norm) or (state.global_step == 1 and norm == 0)):
            raise StageError(
                f"the gradient norm is {norm} at step {state.global_step}: nothing is learned; "
                "lower training.learning_rate or look at lora and the data"
            )
        self.note = f"loss {loss:.4f}, learning rate {logs['learning_rate']:.3g}"

    def check_first(self, loss: float) -> None:
        """Raise StageError for a loss of step 1 that labels and model can't have together."""
        if not 0 < loss < self.most_at_first:
            raise StageError(
                f"the loss of step 1 is {loss:.4g}, not between 0 and 2 ln(vocabulary) = "
                f"{self.most_at_first:.4g}: labels and model don't belong together"
            )
