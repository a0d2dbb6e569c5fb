"""The trainer of a run: its model with the adapter on, its rows, and what looks on as it trains.

Imported only where a training runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sftflow.adapters import keep_initial
from sftflow.adapting import moves_weights, prepare, told_if_unfit
from sftflow.askedmodules import asked_module
from sftflow.checkpointanswers import let_answer
from sftflow.methods import METHODS
from sftflow.ranks import Ranks
from sftflow.shownanswers import Answers
from sftflow.stopping import EarlyStopping
from sftflow.trainer import score_trained_positions_only
from sftflow.training import start_model

SHOWN_ANSWERS = 4


def make_trainer(run: Any) -> Any:
    """Return the trainer of a run (train_adapter.Run) with the model loaded and the adapter on.

    Raises StageError if the base can't take the method, or if the trainer would not train on the
    run's rows as they are.
    """
    spec = run.spec
    evaluates = len(run.validation) > 0
    settings = run.settings(evaluates)
    if run.args.report_to:  # named, not imported: no change of it may make a training stale
        tell = import_module("sftflow.trackers").report_to
        tell(settings, run.args.report_to, run.args.trackers, spec["run"], run.fingerprint)
    score_trained_positions_only()
    model = start_model(run.args.model, spec["method"], run.dtype)
    if run.tokenizer.pad_token_id is None:  # by position anyway, any token will do
        run.tokenizer.pad_token = run.templated["end_of_turn"]["text"]
    adapter = prepare(model, spec, run.base["name"], run.plan.steps, str(run.args.model))
    averaging, packing, ewc = (asked_module(spec, name) for name in ("averaging", "packing", "ewc"))
    average = averaging and averaging.average_of(spec["training"]["average_checkpoints"], run.plan)
    collator = packing and packing.packed_rows(model, run.tokenizer, run.base["name"])
    watchers = [run.rehearsal, *callbacks(run, model, evaluates)]
    with told_if_unfit(spec["method"], run.base["name"]):
        trainer = run.trainer_of(
            model=model,
            args=settings,
            data_collator=collator,
            train_dataset=run.train,
            eval_dataset=run.validation if evaluates else None,
            processing_class=run.tokenizer,
            peft_config=adapter,
            callbacks=[*watchers, *([average] if average else [])],
        )
    trainer.average = average
    equip(trainer, run)
    run.check(trainer)
    if packing and not run.is_sharded():
        packing.check_rows_are_apart(trainer.model, collator, run.train, run.base["name"])
    trainer.anchor = ewc and ewc.anchor_of(
        spec["training"], trainer.model, run.tokenizer, run.texts
    )
    return trainer


def equip(trainer: Any, run: Any) -> None:
    """Give a trainer what this run asks for beside its settings."""
    spec = run.spec
    rates = asked_module(spec, "rates")
    run.rehearsal.trainer = trainer
    trainer.batching = spec["training"]["batching"]
    trainer.kept_order = spec.get("order")  # only a run that asks for one has it
    trainer.own_state = METHODS[spec["method"]].own_state
    trainer.ranked = spec["method"] == "adalora"
    trainer.own_optimizer = rates and rates.own_optimizer(spec)
    trainer.best = run.best
    place, end = run.folder / "samples", run.templated["end_of_turn"]["id"]
    let_answer(trainer, spec["training"], run.prompts, place, end)
    if moves_weights(spec):
        keep_initial(trainer.model, run.folder)


def callbacks(run: Any, model: Any, evaluates: bool) -> list[Any]:
    """Return what looks on while the trainer trains."""
    shown = run.validation if evaluates else run.train
    shown = [shown[i] for i in range(min(SHOWN_ANSWERS, len(shown)))]
    found = [run.watch(model.config.get_text_config().vocab_size)]
    if not run.is_sharded():
        found.append(Answers(shown, run.tokenizer, run.folder / "samples"))
    if run.spec["method"] == "adalora":
        found.append(Ranks())
    if run.patience:
        found.append(EarlyStopping(run.patience, run.best))
    return found
