"""Rules that a model must pass to ship, and what the measurements say of them.

A rule is a sentence in one of these forms, where a measure is a metric of summary.csv:

    tickets.exact_match >= 0.9                                  (also <=, ==, > and <)
    no benchmark falls by more than 2 standard errors           (also rises; and %, or no unit)
    tickets.exact_match rises by at least 0.3

Falls and rises are against the model that a model starts from. A measure may be told by its end
(``exact_match``), without its place in brackets (``ttft_ms.p95``) and with its group before it
(``scores/exact_match``); it then stands for all that match, and each must pass. ``benchmark``
stands for every measure of every suite, and there a fall is whatever is worse. Of no measure is
``no known fault`` (faultrules.py).
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sftflow.comparison import combined_error
from sftflow.direction import direction
from sftflow.figures import figure
from sftflow.summary import Measurement

NUMBER = r"(?P<limit>-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)"
UNIT = r"(?:\s*(?P<unit>standard errors?|%))?"
FORMS = (
    re.compile(rf"(?P<measure>\S+?)\s*(?P<op>>=|<=|==|>|<)\s*{NUMBER}"),
    re.compile(rf"no (?P<measure>\S+) (?P<way>falls|rises) by more than {NUMBER}{UNIT}"),
    re.compile(rf"(?P<measure>\S+) (?P<way>falls|rises) by (?P<least>at least) {NUMBER}{UNIT}"),
)
SHAPES = (
    "'tickets.exact_match >= 0.9', 'no benchmark falls by more than 2 standard errors', "
    "'tickets.exact_match rises by at least 0.3' or 'no known fault'"
)
OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": lambda value, limit: math.isclose(value, limit, abs_tol=1e-12),
}
BENCHMARK = "benchmark"
#: Groups whose metrics end in a key of their own, which a rule may leave out.
KEYED = ("loss", "memorisation")


@dataclass(frozen=True)
class Rule:
    """One rule: a measure and its bound, or how far it may move from the start model's."""

    text: str
    measure: str
    op: str  # of value, or of movement, and limit
    limit: float
    way: str | None  # falls or rises; None for a bound of the value itself
    unit: str | None  # standard errors, % or None

    def matches(self, group: str, metric: str, suites: Iterable[str]) -> bool:
        """Return whether a measure of the summary is meant."""
        if self.measure == BENCHMARK:
            return group in suites and direction(group, metric) != 0
        wanted_group, _, name = self.measure.rpartition("/")
        if wanted_group not in ("", group):
            return False
        plain = metric.partition("[")[0]
        ends = any(f".{known}".endswith(f".{name}") for known in (metric, plain))
        return ends or (group in KEYED and plain.startswith(f"{name}."))


def parsed(text: str) -> Rule:
    """Return a rule; raise ValueError for a text of no known form."""
    said = " ".join(text.split())
    for form in FORMS:
        if found := form.fullmatch(said):
            part = found.groupdict()
            unit = part.get("unit")
            return Rule(
                text=said,
                measure=part["measure"],
                op=part.get("op") or (">=" if part.get("least") else "<="),
                limit=float(part["limit"]),
                way=part.get("way"),
                unit="standard errors" if unit and unit != "%" else unit,
            )
    raise ValueError(f"'{said}' is no rule; write it as {SHAPES}")


@dataclass(frozen=True)
class Known:
    """What was measured of a model, of the one that it starts from, and row by row of both."""

    model: Mapping[tuple[str, str], Measurement]
    base: Mapping[tuple[str, str], Measurement]
    errors: Mapping[tuple[str, str], float | None]  # of the paired differences
    suites: Sequence[str]


@dataclass(frozen=True)
class Outcome:
    """What one measure says of a rule."""

    measure: str | None  # group/metric
    value: float | None  # of the model
    figure: float | None  # what the limit is held against: the value, or how far it moved
    passed: bool
    sentence: str


def checked(rule: Rule, known: Known) -> dict[str, Any]:
    """Return the rule's verdict, pass, fail or not measured, with the measure that is worst."""
    keys = [key for key in known.model if rule.matches(*key, known.suites)]
    outcomes = [_outcome(rule, key, known) for key in keys]
    outcomes = outcomes or [_missing(None, f"{rule.measure} was not measured")]
    worst = min(outcomes, key=lambda o: (o.passed, o.figure is None, _margin(rule, o)))
    failed = sum(not o.passed for o in outcomes)
    more = f" (and {failed - 1} more)" if failed > 1 else ""
    verdict = "pass" if worst.passed else "fail" if worst.figure is not None else "not measured"
    return {
        "rule": rule.text,
        "verdict": verdict,
        "measure": worst.measure,
        "value": worst.value,
        "figure": _finite(worst.figure),
        "limit": rule.limit,
        "measures": len(keys),
        "sentence": f"{worst.sentence}{more}",
    }


def _margin(rule: Rule, outcome: Outcome) -> float:
    """Return by how much an outcome is on the right side of the limit."""
    if outcome.figure is None:
        return 0.0
    above = outcome.figure - rule.limit
    return {">": above, "<": -above}.get(rule.op[0], -abs(above))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _missing(measure: str | None, sentence: str) -> Outcome:
    return Outcome(measure, None, None, False, sentence)


def _outcome(rule: Rule, key: tuple[str, str], known: Known) -> Outcome:
    name, mine = "/".join(key), known.model[key]
    if mine.value is None:
        return _missing(name, f"{name} was not measured")
    if rule.way is None:
        passed = OPERATORS[rule.op](mine.value, rule.limit)
        asked = f"the rule asks for {rule.op} {rule.limit:g}"
        return Outcome(name, mine.value, mine.value, passed, f"{name} is {_told(mine)}; {asked}")
    start = known.base.get(key)
    if start is None or start.value is None:
        return _missing(name, f"{name} was not measured of the start model")
    moved = mine.value - start.value if rule.way == "rises" else start.value - mine.value
    if rule.measure == BENCHMARK and direction(*key) < 0:
        moved = -moved
    far = _in_unit(rule.unit, moved, key, known)
    went = f"{name} went from {_told(start)} to {_told(mine)}"
    if far is None:
        return _missing(name, f"{went}, of which no {_unit_of(rule)} is known")
    passed = OPERATORS[rule.op](far, rule.limit)
    return Outcome(name, mine.value, far, passed, f"{went}{_size(rule, far)}")


def _size(rule: Rule, far: float) -> str:
    """Say how far a measure moved in the rule's unit, and which way; nothing if it has none."""
    if not rule.unit or not far or not math.isfinite(far):
        return ""
    worse, better = ("worse", "better") if rule.measure == BENCHMARK else ("down", "up")
    ways = (worse, better) if rule.way == "falls" else (better, worse)
    return f", {abs(far):.1f} {rule.unit} {ways[far < 0]}"


def _told(measured: Measurement) -> str:
    return figure(measured.value)


def _unit_of(rule: Rule) -> str:
    return "standard error" if rule.unit == "standard errors" else "percentage"


def _in_unit(unit: str | None, moved: float, key: tuple[str, str], known: Known) -> float | None:
    """Return a movement in the rule's unit, None where that is not known.

    A standard error is that of the paired difference where both models answered the same rows,
    else that of two independent measurements.
    """
    mine, start = known.model[key], known.base[key]
    if unit is None or moved == 0:
        return moved
    if unit == "%":
        return 100 * moved / abs(start.value) if start.value else None
    error = known.errors.get(key)
    error = combined_error(start, mine) if error is None else error
    if error is None:
        return None
    return moved / error if error else math.copysign(math.inf, moved)
