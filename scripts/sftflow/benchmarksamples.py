"""What lm-eval kept of each item of a suite: the values of its metrics, to pair two models by.

An item is one question under one filter, {suite}.samples.jsonl has a line for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sftflow.answers import read_jsonl
from sftflow.paired import Paired, paired_means
from sftflow.stage import StageError


@dataclass
class Items:
    """The items of one task under one filter: what was asked, and what each metric says."""

    asked: dict[int, str] = field(default_factory=dict)  # item -> digest of its question
    values: dict[str, dict[int, float]] = field(default_factory=dict)  # metric -> item -> value


def read_items(path: Path) -> dict[tuple[str, str], Items]:
    """Return the items of a suite's samples by (task, filter).

    Values that are no number (perplexity keeps pairs, IFEval lists) have no mean and are left out.
    """
    found: dict[tuple[str, str], Items] = {}
    for line, row in enumerate(read_jsonl(path), start=1):
        try:
            items = found.setdefault((row["task"], row["filter"]), Items())
            item, metrics = row["doc_id"], row["metrics"]
            items.asked[item] = row["doc_hash"]
            for name in metrics:
                if isinstance(value := row[name], int | float):
                    items.values.setdefault(name, {})[item] = float(value)
        except (KeyError, TypeError) as error:
            raise StageError(
                f"{path}, line {line} is no sample of lm-eval ({type(error).__name__}: {error}); "
                "delete it and rerun"
            ) from None
    return found


def paired_suite(suite: str, against: Path, model: Path) -> list[Paired]:
    """Return the paired difference of each task and metric of a suite.

    Raises StageError if the two models were asked other questions.
    """
    first, second = read_items(against), read_items(model)
    measures = []
    for task, kind in sorted(first.keys() & second.keys()):
        before, after = first[task, kind], second[task, kind]
        if before.asked != after.asked:
            raise StageError(f"{against} and {model} hold other questions of {task}; delete both")
        for name in sorted(before.values.keys() & after.values.keys()):
            metric = f"{task}.{name}" if kind == "none" else f"{task}.{name}[{kind}]"
            pair = paired_means(suite, metric, *_aligned(before, after, name))
            measures += [pair] if pair else []
    return measures


def _aligned(before: Items, after: Items, name: str) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the values of both, item by item; None where a model has none."""
    columns: list[Mapping[int, float]] = [before.values[name], after.values[name]]
    one, other = ([column.get(item) for item in sorted(before.asked)] for column in columns)
    return one, other
