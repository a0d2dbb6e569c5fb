"""How far a model recites the answers of given rows word for word, as greedy decoding would.

Greedy decoding follows an answer until the first token that is not the likeliest after what
stands before it, so one forward pass over prompt and answer tells how many of its tokens would
be reproduced; nothing has to be generated.

What is recited of training rows says little alone: a label or a fixed form is right wherever it
stands. Validation rows are the control that no training saw (the counterfactual of Zhang et al.
2023, arXiv:2112.12938; the bounded stretch of answer is that of Carlini et al. 2023,
arXiv:2202.07646, who ask for 50 tokens).
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftflow.estimates import mean_estimate
from sftflow.losses import IGNORED, Score, Scored
from sftflow.records import read_rows


@dataclass(frozen=True)
class Recited:
    """How much of one answer was reproduced."""

    id: str
    asked: int  # tokens that were to be reproduced
    prefix: int  # of these, up to the first that differs

    @property
    def whole(self) -> bool:
        """Say whether all that was asked for was reproduced."""
        return self.prefix == self.asked


def chosen(rows: Iterable[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return ``count`` rows: those whose ids have the smallest digests, of equal ids the first.

    Another order of the rows chooses the same ones, and a few more or less change few of them.
    """

    def place(numbered: tuple[int, Mapping[str, Any]]) -> tuple[str, int]:
        at, row = numbered
        return hashlib.sha256(f"recitation {row['id']}".encode()).hexdigest(), at

    return [dict(row) for _, row in heapq.nsmallest(count, enumerate(rows), key=place)]


@dataclass(frozen=True)
class Side:
    """Rows of a templated folder that are scored, and the part that may be recited."""

    rows: list[dict[str, Any]]
    asked: list[int]  # places in ``rows``

    @property
    def sequences(self) -> list[Scored]:
        """Return the rows as sequences."""
        return [Scored(row["input_ids"], row["labels"]) for row in self.rows]


def sides(folder: Path, rows: int) -> dict[str, Side]:
    """Return all validation rows of a templated folder, and as ``train`` a few training rows."""
    columns = ["id", "input_ids", "labels"]
    held_out = list(read_rows(folder / "validation.parquet", columns))
    numbered = ({"id": row["id"], "at": at} for at, row in enumerate(held_out))
    found = {"validation": Side(held_out, [one["at"] for one in chosen(numbered, rows)])}
    if rows:
        train = chosen(read_rows(folder / "train.parquet", columns), rows)
        found["train"] = Side(train, list(range(len(train))))
    return found


def first_answer(labels: Sequence[int]) -> int:
    """Return the scored tokens of the first answer; a row's very first token is not scored."""
    count = 0
    for label in labels[1:]:
        if label != IGNORED:
            count += 1
        elif count:
            break
    return count


def recited(
    row: Mapping[str, Any], likeliest: Sequence[bool], given: int, most: int
) -> Recited | None:
    """Return how much of a row's first answer is reproduced, None if nothing is left to ask.

    The model is given the first ``given`` tokens of the answer and asked for ``most`` more.
    """
    asked = likeliest[given : min(first_answer(row["labels"]), given + most)]
    if not asked:
        return None
    prefix = next((at for at, right in enumerate(asked) if not right), len(asked))
    return Recited(row["id"], len(asked), prefix)


def figures(found: Sequence[Recited]) -> dict[str, Any]:
    """Return the share of answers reproduced to the end, and the tokens before a difference."""
    return {
        "exact": mean_estimate(r.whole for r in found),
        "prefix_tokens": mean_estimate(r.prefix for r in found),
        "asked_tokens": mean_estimate(r.asked for r in found),
    }


def recitation(
    parts: Mapping[str, Side],
    scores: Mapping[str, Sequence[Score | None]],
    asked: Mapping[str, int],
) -> dict[str, Any]:
    """Return what is reproduced of the answers of each side, and which training rows wholly are.

    ``scores`` are those of all rows of a side; ``asked`` has given_tokens and max_tokens.
    """
    found: dict[str, list[Recited]] = {}
    for name, side in parts.items():
        told = [
            recited(side.rows[at], score.likeliest, asked["given_tokens"], asked["max_tokens"])
            for at in side.asked
            if (score := scores[name][at]) is not None
        ]
        found[name] = [one for one in told if one is not None]
    whole = sorted({one.id for one in found["train"] if one.whole})
    return {**{name: figures(some) for name, some in found.items()}, "recited": whole}
