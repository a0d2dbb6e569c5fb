"""Answers at each evaluation of a training: their score on validation rows, and fixed prompts.

Only runs with ``training.eval_generation`` rest on this module and on what it imports; their rule
says so (rules/inputs/train.smk).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object

from sftflow.bestcheckpoint import BY_LOSS, best_of
from sftflow.continuations import Continuation, continuations
from sftflow.conversations import template_messages, template_tools
from sftflow.manifests import sha256_json, write_text
from sftflow.masks import IGNORED
from sftflow.promptrows import file_rows, split_answer
from sftflow.reasoningtags import parted
from sftflow.recitation import chosen
from sftflow.scoring import METRICS, chosen_metrics, score
from sftflow.stage import StageError

logger = logging.getLogger("sftflow")

VALIDATION, PROMPTS = "validation", "prompts"  # sets of answers
ANY_LENGTH = 10**9  # of a model that says nothing of its positions


@dataclass(frozen=True)
class Question:
    """What is asked at each evaluation."""

    set: str
    id: str
    ids: list[int]  # the prompt
    reference: str | None


class EvalGeneration:
    """What a model answers at each evaluation, and what that scores."""

    def __init__(
        self,
        questions: Sequence[Question],
        tokenizer: Any,
        ends: Collection[int],
        training: Mapping[str, Any],
        folder: Path,
    ) -> None:
        """Ask ``questions`` as the settings ``training`` say; write answers-N.jsonl of step N."""
        self.questions, self.tokenizer, self.ends = questions, tokenizer, ends
        self.settings, self.folder = training["eval_generation"], folder
        self.batch_size = training["per_device_train_batch_size"]
        self.best = best_of(training)
        scored = [{"reference": q.reference} for q in questions if q.set == VALIDATION]
        names = chosen_metrics(scored, self.settings["metrics"]) if scored else []
        self.metrics = [name for name in METRICS if name in (*names, self.best.metric)]

    def evaluate(self, trainer: Any) -> dict[str, float]:
        """Answer, write the answers down, and return ``eval_{metric}`` -> value.

        Processes share the questions, and each has all answers in the end. A metric that says
        nothing about these answers is left out. Raises StageError if it is the one that chooses.
        """
        step, start_s = trainer.state.global_step, time.monotonic()
        rank, world = trainer.args.process_index, trainer.args.world_size
        mine = list(range(len(self.questions)))[rank::world]
        told = self._answers(trainer.model, mine)
        told = dict(gather_object(told)) if world > 1 else dict(told)
        rows = [told[at] for at in range(len(self.questions))]
        tokens = sum(row["completion_tokens"] for row in rows)
        if trainer.is_world_process_zero():
            lines = [json.dumps({"step": step, **row}, ensure_ascii=False) for row in rows]
            write_text(self.folder / f"answers-{step:06d}.jsonl", "\n".join(lines) + "\n")
        logger.info(
            "step %d: %d answers, %d tokens, in %.1f s",
            *(step, len(rows), tokens, time.monotonic() - start_s),
        )
        return self._scores(rows, step)

    def _answers(self, model: Any, places: Sequence[int]) -> list[tuple[int, dict[str, Any]]]:
        """Return the answers to the questions at these places, beside their places."""
        asked = [self.questions[at] for at in places]
        pad = self.tokenizer.pad_token_id or 0
        most, prompts = self.settings["max_new_tokens"], [q.ids for q in asked]
        told = continuations(model, prompts, self.ends, most, pad, self.batch_size)
        rows = [self._row(q, one) for q, one in zip(asked, told, strict=True)]
        return list(zip(places, rows, strict=True))

    def _row(self, asked: Question, told: Continuation) -> dict[str, Any]:
        """Return an answer as scores read it; thinking before it is none of it."""
        said = self.tokenizer.decode(told.ids, skip_special_tokens=True)
        return {
            "set": asked.set,
            "id": asked.id,
            "prompt": self.tokenizer.decode(asked.ids),
            "reference": asked.reference,
            "answer": parted(said)[1],
            "finish_reason": "stop" if told.ended else "length",
            "completion_tokens": len(told.ids) + told.ended,
        }

    def _scores(self, rows: Sequence[Mapping[str, Any]], step: int) -> dict[str, float]:
        scored = [row for row in rows if row["set"] == VALIDATION]
        if not scored:
            return {}
        scores = score(scored, self.metrics)
        known = {
            f"eval_{name}": float(scores[name]["value"])
            for name in self.metrics
            if scores[name]["value"] is not None
        }
        if self.best != BY_LOSS and f"eval_{self.best.metric}" not in known:
            raise StageError(
                f"{self.best.metric} says nothing about the {len(scored)} answers at step {step}; "
                "choose another training.metric_for_best_model"
            )
        return known


def last_answer(
    row: Mapping[str, Any], ends: Collection[int]
) -> tuple[list[int], list[int]] | None:
    """Return what stands before a row's last trained turn, and the turn without its end.

    None if the row was cut before the turn ended.
    """
    ids, labels = row["input_ids"], row["labels"]
    end = max(at for at, label in enumerate(labels) if label != IGNORED) + 1
    start = end
    while start and labels[start - 1] != IGNORED:
        start -= 1
    return (ids[:start], ids[start : end - 1]) if start and ids[end - 1] in ends else None


def validation_questions(
    rows: Iterable[Mapping[str, Any]], count: int, tokenizer: Any, ends: Collection[int], most: int
) -> list[Question]:
    """Return ``count`` validation rows as questions, always the same ones.

    Rows whose answer was cut off, or that leave no room for one in ``most`` tokens of prompt, are
    passed over. Raises StageError if none is left.
    """
    fitting = (
        {"id": str(row["id"]), "prompt": parts[0], "answer": parts[1]}
        for row in rows
        if (parts := last_answer(row, ends)) is not None and len(parts[0]) <= most
    )
    questions = [
        Question(
            VALIDATION,
            row["id"],
            row["prompt"],
            parted(tokenizer.decode(row["answer"], skip_special_tokens=True))[1],
        )
        for row in chosen(fitting, count)
    ]
    if not questions:
        raise StageError(
            "no validation row can be answered: each is cut off, or leaves no room for "
            "training.eval_generation.max_new_tokens in the model's positions"
        )
    return questions


def prompt_questions(path: Path, count: int, tokenizer: Any, most: int) -> list[Question]:
    """Return the first ``count`` prompts of a file as questions.

    Raises StageError for one that is longer than ``most`` tokens.
    """
    questions = []
    for row in islice(file_rows(path), count):
        messages, reference = split_answer(row["messages"])
        ids = tokenizer.apply_chat_template(
            template_messages(messages),
            tools=template_tools(row["tools"]),
            add_generation_prompt=True,
            return_dict=True,
        )["input_ids"]
        if len(ids) > most:
            raise StageError(
                f"{path}: prompt {row['id']} has {len(ids)} tokens and leaves no room for "
                "training.eval_generation.max_new_tokens in the model's positions"
            )
        questions.append(Question(PROMPTS, row["id"], list(ids), row["reference"] or reference))
    return questions


def prompts_digest(path: Path, count: int) -> str:
    """Return a digest of what the first ``count`` prompts of a file are."""
    return sha256_json(list(islice(file_rows(path), count)))


def prepared(
    trainer: Any,
    training: Mapping[str, Any],
    prompts: Path | None,
    folder: Path,
    end_of_turn: int,
) -> EvalGeneration:
    """Return what a trainer's model is asked at each evaluation; ``training`` are its settings."""
    asked, tokenizer = training["eval_generation"], trainer.processing_class
    ends = {end_of_turn, tokenizer.eos_token_id} - {None}
    config = getattr(trainer.model, "active_peft_config", None)
    virtual = getattr(config, "num_virtual_tokens", None) or 0  # vectors before each prompt
    positions = trainer.model.config.get_text_config()
    positions = getattr(positions, "max_position_embeddings", None) or ANY_LENGTH
    most = positions - virtual - asked["max_new_tokens"]
    questions = []
    if asked["rows"]:
        rows = trainer.eval_dataset.select_columns(["id", "input_ids", "labels"])
        questions += validation_questions(rows, asked["rows"], tokenizer, ends, most)
    if prompts is not None:
        questions += prompt_questions(prompts, asked["prompts"], tokenizer, most)
    return EvalGeneration(questions, tokenizer, ends, training, folder)


def gathered(folder: Path) -> str:
    """Return the answers of all evaluations, in the order of their steps, as one JSONL text."""
    files = sorted(folder.glob("answers-*.jsonl"))
    return "".join(file.read_text(encoding="utf-8") for file in files)
