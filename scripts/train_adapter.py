"""Fit an adapter, or weights of the model itself, on one templated dataset.

reads   templated/{train,validation}.parquet (input_ids, labels); model/ (the start model)
writes  adapter/ (safetensors; the whole model where its own weights are trained), history.csv
        (step, epoch, loss, learning_rate, grad_norm, eval_loss, tokens, eval_{metric} ...),
        samples/ (answers to a few validation prompts at each evaluation; answers.jsonl with those
        that were asked for), manifest.json
keeps   checkpoints/<fingerprint>/ to continue from after any kill, with the same result
tells   the trackers of --report-to, which no result rests on

--memory says whether what takes most memory is tried first, and what was estimated for it: neither
changes the result, so it is no part of --spec.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sftflow.bestcheckpoint import best_counts, best_of
from sftflow.checkpointanswers import asked_digests, scoring_packages
from sftflow.checkpoints import alone, fingerprint, remove_others
from sftflow.folders import START_SUMS, check_payloads
from sftflow.jobs import project_path
from sftflow.launching import (
    SHARDED,
    end_with_launcher,
    is_first,
    is_launched,
    launch_again,
    needed_packages,
)
from sftflow.manifests import canonical_json, read_manifest, sha256_file
from sftflow.modelimports import import_models
from sftflow.modeltokenizers import load_tokenizer
from sftflow.optimizers import bitsandbytes_asked
from sftflow.resuming import newest_to_resume, stopped_early
from sftflow.stage import StageError, console, run_stage, stage_parser
from sftflow.trainrows import check_labels, check_same_tokenizer, load_rows

logger = logging.getLogger("sftflow")

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers")
MEMORY = '{"check": true, "estimate": null}'
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
}
PLACES = ("texts", "prompts")  # keys of the spec that are no settings, but say where files lie


class Run:
    """One training: its inputs, checked, and its trainer."""

    stage = "train_adapter"
    logged: Mapping[str, str] = {}  # figures of the log -> further columns of history.csv

    def __init__(self, args: Any, spec: dict[str, Any]) -> None:
        """Check all that can be checked before the model is loaded."""
        from sftflow.training import computing_dtype, require_bitsandbytes

        self.args = args
        self.spec = {key: spec[key] for key in spec if key not in PLACES}
        self.texts = {name: project_path(path) for name, path in spec.get("texts", {}).items()}
        self.prompts = project_path(spec["prompts"]) if spec.get("prompts") else None
        self.best = best_of(spec["training"])
        asked = bitsandbytes_asked(spec["method"], spec["training"])
        more = (*scoring_packages(spec["training"]), *needed_packages(spec["launch"]))
        self.packages = (*PACKAGES, *more, *(("bitsandbytes",) if asked else ()))
        self.patience = spec["training"]["early_stopping_patience"]
        self.templated = read_manifest(args.templated / "manifest.json")
        self.tokenizer = load_tokenizer(args.model)
        self.digests = check_same_tokenizer(self.templated, args.model, self.tokenizer)
        if asked:
            require_bitsandbytes(*asked)
        self.dtype = computing_dtype(spec["training"]["dtype"])
        check_payloads(args.templated)
        self.train = load_rows(args.templated / "train.parquet")
        self.validation = load_rows(args.templated / "validation.parquet")
        self.base = {
            "name": args.model.name,
            "sha256": sha256_file(args.model / START_SUMS),
        }
        self.fingerprint = fingerprint(
            spec=json.loads(canonical_json(self.spec)),
            templated=sha256_file(args.templated / "SHA256SUMS"),
            model=self.base["sha256"],
            dtype=self.dtype,
            texts={name: sha256_file(path) for name, path in self.texts.items()},
            code=args.code,
            packages={name: version(name) for name in self.packages},
            **asked_digests(spec["training"], self.prompts, self.digests["chat_template_sha256"]),
        )
        self.folder = args.checkpoints / self.fingerprint

    def make_trainer(self) -> Any:
        """Return the trainer with the model loaded and the adapter put on."""
        from sftflow.rehearsal import Rehearsal
        from sftflow.runtrainer import make_trainer
        from sftflow.training import schedule

        processes = int(os.environ.get("WORLD_SIZE", "1"))
        self.plan = schedule(self.spec["training"], len(self.train), processes)
        rehearses = not self.is_sharded() and "dpo" not in self.spec
        self.rehearsal = Rehearsal(self.args.memory, self.spec["method"], rehearses)
        return make_trainer(self)

    def settings(self, evaluates: bool) -> Any:
        """Return the trainer's settings; self.plan is known."""
        from sftflow.training import trainer_settings

        training = self.spec["training"]
        settings = trainer_settings(training, self.plan, self.folder, self.dtype, evaluates)
        if self.spec["method"] == "prefix":  # its mask is longer than what routers have seen
            settings.router_aux_loss_coef = 0.0
        return settings

    def trainer_of(self, **parts: Any) -> Any:
        """Return the trainer made of its parts."""
        from sftflow.trainer import MaskedTrainer

        trainer = MaskedTrainer(**parts)
        trainer.weigh_tokens()
        return trainer

    def check(self, trainer: Any) -> None:
        """Raise StageError if the trainer would not train on our rows as they are."""
        check_labels(trainer, self.train)

    def watch(self, vocabulary: int) -> Any:
        """Return what guards the training of a model with so many tokens."""
        from sftflow.trainer import Watch

        return Watch(vocabulary)

    def is_sharded(self) -> bool:
        """Return whether no process holds the whole model."""
        return is_launched() and self.spec["launch"]["strategy"] in SHARDED

    def fit(self, trainer: Any) -> dict[str, Any]:
        """Train to the end, from the newest valid checkpoint if there is one; return counts."""
        spec = self.spec
        parameters, trainable = numbers(trainer.model)
        if trainable == 0:
            raise StageError("no parameter is trainable; look at method and its target_modules")
        self._train(trainer, self._newest(trainer))
        state = trainer.state
        best = state.best_global_step
        keep_best = spec["training"]["load_best_model_at_end"] and best
        averaged = self._averaged(trainer)
        if keep_best and not averaged and best != state.global_step:
            trainer.load_best()
        return {
            "rows": len(self.train),
            "steps": state.global_step,
            "epochs": state.epoch,
            "tokens": state.num_input_tokens_seen,
            **trainer.token_counts(),
            "parameters": parameters,
            "trainable_parameters": trainable,
            **best_counts(state.log_history, best, self.best),
            "kept_step": best if keep_best and not averaged else state.global_step,
            **({"stopped_early": self._stopped_early(trainer)} if self.patience else {}),
            **({"ewc_penalty": trainer.anchor.penalty().item()} if trainer.anchor else {}),
            **averaged,
            **self.measure(trainer),
        }

    def _newest(self, trainer: Any) -> Path | None:
        """Return the checkpoint to go on from, and say so."""
        training = self.spec["training"]
        with trainer.args.main_process_first(local=False):
            newest, notes = newest_to_resume(self.folder, self.plan.steps, training, self.best)
        if newest:
            notes.append(f"continuing from {newest.name}")
        for note in notes if is_first() else ():
            console().say(note)
        return newest

    def measure(self, _trainer: Any) -> dict[str, Any]:
        """Measure the kept weights; return further counts. Every process has its part in it."""
        return {}

    def _averaged(self, trainer: Any) -> dict[str, Any]:
        """Put the mean of the weights into the model if one is asked for; return its counts."""
        if trainer.average is None:
            return {}
        trainer.average.put_into(trainer.model)
        loss = trainer.validation_loss() if trainer.eval_dataset is not None else None
        return {"averaged_steps": trainer.average.steps, "averaged_eval_loss": loss}

    def _train(self, trainer: Any, newest: Path | None) -> None:
        """Train; raise StageError if memory runs out or a signal asks to stop."""
        with self.rehearsal.lack_told(lambda: f"step {trainer.state.global_step + 1}"):
            result = trainer.train(resume_from_checkpoint=str(newest) if newest else None)
        logger.info("throughput: %s", result.metrics)
        step = trainer.state.global_step
        if step < self.plan.steps and not stopped_early(
            trainer.state.log_history, self.patience, self.best
        ):
            raise StageError(
                f"stopped by a signal after step {step} of {self.plan.steps}; "
                "the next start goes on from there"
            )

    def _stopped_early(self, trainer: Any) -> bool:
        return stopped_early(trainer.state.log_history, self.patience, self.best)

    def save(self, trainer: Any, counts: dict[str, Any]) -> None:
        """Write adapter, history, samples and, last, the manifest."""
        kept = self.args.adapter.with_name(f".{self.args.adapter.name}.kept")
        trainer.save_model(str(kept))  # every process has its part in it
        if is_first():
            from sftflow.runresult import write_result

            write_result(self, trainer, kept, counts)
            remove_others(self.args.checkpoints, self.fingerprint)

    def write_more(self) -> list[Path]:
        """Write what else this training leaves; return its files."""
        return []


def numbers(model: Any) -> tuple[int, int]:
    """Return how many numbers a model's weights are, and how many of them are trained."""
    # ZeRO-3 has left the weights empty, and says how many numbers they have.
    sizes = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in model.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)


def main(
    argv: list[str] | None = None, kind: type[Run] = Run, script: str = __file__, more: tuple = ()
) -> None:
    """Train as a ``kind`` of run does, write, and only then vouch for the result."""
    os.environ.update(QUIET)
    argv = sys.argv[1:] if argv is None else argv
    names = (
        *more,
        "templated",
        "model",
        "adapter",
        "history",
        "samples",
        "checkpoints",
        "manifest",
    )
    parser = stage_parser(__doc__, *names)
    parser.add_argument("--code", default="", help="digest of the code; part of the fingerprint")
    parser.add_argument("--memory", type=json.loads, default=MEMORY, help="check, estimate; JSON")
    parser.add_argument("--report-to", nargs="*", default=[], help="trackers, as in training")
    parser.add_argument("--trackers", type=Path, default="results/trackers", help="their files")
    args = parser.parse_args(argv)
    if args.spec["launch"]["num_processes"] > 1 and not is_launched():
        launch_again(Path(script).resolve(), args.spec, argv)
        return
    end_with_launcher()
    with alone(args.checkpoints) if is_first() else nullcontext():
        import_models()
        run = kind(args, args.spec)
        trainer = run.make_trainer()
        counts = run.fit(trainer)
        run.save(trainer, counts)


if __name__ == "__main__":
    run_stage(main)
