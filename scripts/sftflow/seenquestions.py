"""Benchmark questions that stand in the rows a model was trained on (find_contamination.py)."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.stage import StageError

#: Above this share of a task's questions in the training rows, its figures are not believed. Of
#: the default's test messages, written by a few rules, 4 % have a near twin in training.
MOST_SEEN = 0.1
#: Standard errors by which the share must be above it.
ERRORS = 2.0

Counts = Mapping[str, Mapping[str, int]]  # suite/task -> questions, found


def with_questions(
    results: Path, models: Sequence[Mapping[str, Any]], kept: Container[str]
) -> list[dict[str, Any]]:
    """Return the models, each with what was counted for its dataset as ``questions``.

    ``kept`` are the datasets whose rows with questions are told of and stay in the training; a
    dataset that leaves them out, or does not look for them, has nothing to tell.
    """
    return [
        {**m, "questions": _counts(results, m["dataset"])} if m.get("dataset") in kept else dict(m)
        for m in models
    ]


def _counts(results: Path, dataset: str) -> Counts:
    path = results / "datasets" / dataset / "contamination.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["counts"]["tasks"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(f"{path} can't be read ({error!r}); delete it and rerun") from None


def most_seen(questions: Counts) -> tuple[str, int, int] | None:
    """Return the task most of whose questions were seen, their number, and that of all of it.

    None where no task has more than MOST_SEEN of them by more than chance.
    """
    seen = {
        task: (count["found"], count["questions"])
        for task, count in questions.items()
        if count["questions"] and _beyond(count["found"], count["questions"])
    }
    if not seen:
        return None
    task = max(seen, key=lambda name: seen[name][0] / seen[name][1])
    return (task, *seen[task])


def _beyond(found: int, questions: int) -> bool:
    share = found / questions
    error = math.sqrt(MOST_SEEN * (1 - MOST_SEEN) / questions)  # where no more than that were seen
    return share - MOST_SEEN > ERRORS * error
