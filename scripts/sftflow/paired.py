"""The difference of two models on one measure, from what each said to the same rows.

A row stands for itself: how hard it is weighs on both models alike and falls out of the
difference, so that a paired difference is surer than two means and their errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sftflow.direction import direction
from sftflow.resampling import (
    bootstrap_mean,
    bootstrap_sums,
    exchange_mean_p,
    exchange_sums_p,
    holm,
    mcnemar_p,
)
from sftflow.sums import Sums

Value = float | None


@dataclass(frozen=True)
class Paired:
    """One measure of a model beside that of the one it is held against, on n common rows."""

    group: str  # scores or a suite, as in summary.csv
    metric: str
    n: int
    model: float
    against: float
    difference: float  # model minus against
    low: Value  # 95 % bootstrap interval of the difference; null for a single row
    high: Value
    stderr: Value
    wins: int | None  # rows on which the model is better; null where neither way is
    losses: int | None
    ties: int
    p: Value  # two-sided
    test: str | None  # mcnemar or exchange
    p_holm: Value = None  # adjusted for all measures of its kind

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as they stand in a result file."""
        return asdict(self)


def paired_means(
    group: str, metric: str, against: Sequence[Value], model: Sequence[Value]
) -> Paired | None:
    """Return the difference of two means over the rows where both have a value, None if none."""
    import numpy as np

    both = [(a, m) for a, m in zip(against, model, strict=True) if None not in (a, m)]
    if not both:
        return None
    first, second = np.array(both, dtype=float).T
    change = second - first
    higher, lower = int((change > 0).sum()), int((change < 0).sum())
    low, high, stderr = bootstrap_mean(change) if len(both) > 1 else (None, None, None)
    right_or_wrong = bool(np.isin(np.array(both), (0.0, 1.0)).all())
    p = mcnemar_p(higher, lower) if right_or_wrong else exchange_mean_p(change)
    way = direction(group, metric)
    return Paired(
        group=group,
        metric=metric,
        n=len(both),
        model=float(second.mean()),
        against=float(first.mean()),
        difference=float(change.mean()),
        low=low,
        high=high,
        stderr=stderr,
        wins={1: higher, -1: lower}.get(way),
        losses={1: lower, -1: higher}.get(way),
        ties=len(both) - higher - lower,
        p=p,
        test="mcnemar" if right_or_wrong else "exchange",
    )


def paired_sums(group: str, metric: str, against: Sums, model: Sums) -> Paired | None:
    """Return the difference of two scores that follow from sums over the same rows."""
    n = len(model.table)
    if not n:
        return None
    first, second = (float(sums.score(sums.table.sum(axis=0))) for sums in (against, model))
    interval: tuple[Value, Value, Value] = (None, None, None)
    if n > 1:
        interval = bootstrap_sums([against, model], lambda one, other: other - one)
    changed = int((against.table != model.table).any(axis=1).sum())
    return Paired(
        group=group,
        metric=metric,
        n=n,
        model=second,
        against=first,
        difference=second - first,
        low=interval[0],
        high=interval[1],
        stderr=interval[2],
        wins=None,
        losses=None,
        ties=n - changed,
        p=exchange_sums_p(against, model),
        test="exchange",
    )


def adjusted(measures: Sequence[Paired]) -> list[Paired]:
    """Return measures with p-values adjusted by Holm's method over those that can be better.

    A length is neither better nor worse, so nothing is claimed of it and it costs the others
    nothing.
    """
    judged = [m.p if direction(m.group, m.metric) else None for m in measures]
    return [replace(m, p_holm=p) for m, p in zip(measures, holm(judged), strict=True)]
