"""A tuned model against its base, measure by measure, with the noise taken into account.

Where both answered the same rows the paired difference decides (paired.py), by its p-value after
Holm's correction; else two standard errors of the difference of two independent measurements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sftflow.direction import direction
from sftflow.summary import Measurement

#: How many combined standard errors a difference must exceed to be called one.
ERRORS = 2.0
#: Below this p-value, adjusted by Holm's method, a paired difference is called one.
ALPHA = 0.05
#: A standard error of 0 (all answers right, or all wrong) says nothing on fewer items.
FEWEST_FOR_ZERO_ERROR = 10

#: What to put first when the config does not name a headline, most telling first.
TELLING = ("exact_match", "accuracy", "acc_norm", "acc", "f1", "numeric_answer", "rouge", "bleu")

#: Groups without a figure of the base: times have sections of their own, a win rate is of a pair,
#: and a reward is measured from the base.
NOT_COMPARED = ("latency", "judged", "preferences")

#: Groups whose metrics end in the digest of a dataset, in which any of these words may stand.
KEYED_BY_DATA = ("loss", "memorisation")
NO_HEADLINE = (*KEYED_BY_DATA, "people")  # whose "accuracy" is a criterion


Pair = Mapping[str, Any]  # a measure of compare_models' result
Pairs = Mapping[tuple[str, str], Pair]  # (group, metric) -> its paired difference


@dataclass(frozen=True)
class Comparison:
    """One measure of a tuned model beside the same measure of its base."""

    group: str
    metric: str
    base: Measurement | None
    tuned: Measurement | None
    verdict: str  # better, worse, same, unsure (no error known), neutral, missing
    paired: Pair | None = field(default=None, hash=False)

    @property
    def difference(self) -> float | None:
        """Return tuned minus base, None where one was not measured."""
        if self.verdict == "missing":
            return None
        if self.paired is not None:
            return self.paired["difference"]
        return self.tuned.value - self.base.value

    @property
    def error(self) -> float | None:
        """Return the standard error of the difference: paired, or of independent measurements."""
        if self.verdict == "missing":
            return None
        if self.paired is not None:
            return self.paired["stderr"]
        return combined_error(self.base, self.tuned)

    @property
    def errors_apart(self) -> float:
        """Return |difference| in combined standard errors; 0 where none is known."""
        if self.difference is None or self.error is None:
            return 0.0
        return abs(self.difference) / self.error if self.error else math.inf

    @property
    def direction(self) -> int:
        """Return 1 if more is better, -1 if less is, 0 if neither."""
        return direction(self.group, self.metric)


def combined_error(base: Measurement, tuned: Measurement) -> float | None:
    """Return sqrt(se1^2 + se2^2), or None if one of the two has no usable error."""
    if base.stderr is None or tuned.stderr is None:
        return None
    error = math.hypot(base.stderr, tuned.stderr)
    fewest = min(m.n if m.n is not None else math.inf for m in (base, tuned))
    if error == 0 and fewest < FEWEST_FOR_ZERO_ERROR:
        return None
    return error


def verdict(
    group: str,
    metric: str,
    base: Measurement | None,
    tuned: Measurement | None,
    paired: Pair | None = None,
) -> str:
    """Say whether the tuned model is better, worse or the same, or why that is not known."""
    if base is None or tuned is None or base.value is None or tuned.value is None:
        return "missing"
    way = direction(group, metric)
    gain = way * (tuned.value - base.value)
    if way == 0:
        return "neutral"
    if paired is not None and paired["p_holm"] is not None:
        if paired["p_holm"] >= ALPHA:
            return "same"
        return "better" if way * paired["difference"] > 0 else "worse"
    error = combined_error(base, tuned)
    if error is None:
        return "unsure" if gain else "same"
    if abs(gain) <= ERRORS * error:
        return "same"
    return "better" if gain > 0 else "worse"


def compare(
    base: Iterable[Measurement], tuned: Iterable[Measurement], pairs: Pairs | None = None
) -> list[Comparison]:
    """Return one comparison per measure asked of the tuned model, latency left out.

    The base may have more: it is measured on the datasets of all runs that start from it.
    """
    left = {(m.group, m.metric): m for m in base}
    right = {(m.group, m.metric): m for m in tuned}
    found = []
    for key in right:
        if key[0] not in NOT_COMPARED and key[1]:
            sides, pair = (left.get(key), right[key]), (pairs or {}).get(key)
            found.append(Comparison(*key, *sides, verdict(*key, *sides, pair), pair))
    return found


def headline(comparisons: Iterable[Comparison], wanted: str | None) -> Comparison | None:
    """Return the comparison to put first: ``group/metric`` if named, else the most telling."""
    known = [c for c in comparisons if c.verdict != "missing"]
    if wanted:
        return next((c for c in known if f"{c.group}/{c.metric}" == wanted), None)
    for word in TELLING:
        told = [c for c in known if word in c.metric and c.group not in NO_HEADLINE]
        if told:  # the one that rests on most rows; the first of equals
            return max(told, key=lambda c: c.tuned.n or 0)
    return known[0] if known else None


def tally(comparisons: Iterable[Comparison]) -> Mapping[str, int]:
    """Return how many comparisons ended in each verdict, all verdicts named."""
    counts = dict.fromkeys(("better", "worse", "same", "unsure", "neutral", "missing"), 0)
    for c in comparisons:
        counts[c.verdict] += 1
    return counts
