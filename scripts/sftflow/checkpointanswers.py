"""The answers that a training gives at its evaluations, as every training stage sees them.

Two kinds: the few sample answers that each training has, and those that ``eval_generation`` asks
for. The module that makes the latter is named here, not imported: trainings that ask for none must
not go stale with it, and the rule of one that asks has the digest of its code.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from sftflow.folders import built_beside
from sftflow.manifests import write_text

MODULE = "sftflow.evalgeneration"
SCORING = ("sacrebleu", "rapidfuzz", "scikit-learn", "scipy")


def scoring_packages(training: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the packages that shape the scores of a training with these settings."""
    return SCORING if training.get("eval_generation", {}).get("rows") else ()


def asked_digests(
    training: Mapping[str, Any], prompts: Path | None, chat_template: str
) -> dict[str, str]:
    """Return digests of the fixed prompts of a training, and of the template that they are put in.

    ``training`` are its settings; {} if it has no prompts.
    """
    if prompts is None:
        return {}
    said = import_module(MODULE).prompts_digest(prompts, training["eval_generation"]["prompts"])
    return {"prompts": said, "template": chat_template}


def let_answer(
    trainer: Any,
    training: Mapping[str, Any],
    prompts: Path | None,
    folder: Path,
    end_of_turn: int,
) -> None:
    """Let a trainer's model answer at each evaluation if its settings ask for it."""
    if "eval_generation" in training:
        prepared = import_module(MODULE).prepared
        trainer.generation = prepared(trainer, training, prompts, folder, end_of_turn)


def write_answers(trainer: Any, folder: Path, samples: Path) -> None:
    """Copy the sample answers in ``folder`` to ``samples``, and put together those asked for."""
    with built_beside(samples) as beside:
        for path in sorted(folder.glob("step-*.jsonl")):
            shutil.copyfile(path, beside / path.name)
        if trainer.generation is not None:
            write_text(beside / "answers.jsonl", import_module(MODULE).gathered(folder))
