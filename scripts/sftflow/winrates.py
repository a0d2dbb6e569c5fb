"""What verdicts on pairs of answers amount to: win rate, and how far the judge is biased.

A verdict counts as a win only if the judge gives it in both orders of the answers, else as a tie
(Zheng et al. 2023, arXiv:2306.05685, section 3.4). Ties are half a win in the win rate. All
intervals are Wilson's at 95 %; for the win rate, where a tie lies between the two ends, it is a
little too wide and never too narrow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sftflow.estimates import mean_estimate

Judged = Mapping[str, Any]  # a row of verdicts.jsonl
POINTS = {"first": 1.0, "tie": 0.5, "second": 0.0}  # to the model that is shown first


def settled(places: Sequence[str | None], models: Sequence[str]) -> str | None:
    """Return who won: a model, tie, or None if a verdict could not be read.

    ``places`` are the verdicts with the models shown in their order, and the other way round.
    """
    if None in places:
        return None
    one, other = models
    straight = {"first": one, "second": other}.get(places[0] or "", "tie")
    turned = {"first": other, "second": one}.get(places[1] or "", "tie")
    return straight if straight == turned else "tie"


def share(count: float, n: int) -> dict[str, Any]:
    """Return a share of n with its interval {value, low, high, n}; null of nothing."""
    from statsmodels.stats.proportion import proportion_confint

    if not n:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = proportion_confint(count, n, alpha=0.05, method="wilson")
    return {"value": count / n, "low": max(0.0, float(low)), "high": min(1.0, float(high)), "n": n}


def sign_test(wins: int, losses: int) -> float | None:
    """Return the two-sided p of a fair coin for wins and losses; None without any."""
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else None


def figures(rows: Iterable[Judged], models: Sequence[str]) -> dict[str, Any]:
    """Return win rate and biases of the first of two models against the second."""
    rows = list(rows)
    outcomes = Counter(row["outcome"] for row in rows)
    known = [row for row in rows if row["winner"] is not None]
    wins, losses = (sum(row["winner"] == model for row in known) for model in models)
    ties, n = len(known) - wins - losses, len(known)
    points = [{models[0]: 1.0, models[1]: 0.0}.get(row["winner"], 0.5) for row in known]
    return {
        "rows": len(rows),
        "n": n,
        "wins": share(wins, n),
        "ties": share(ties, n),
        "losses": share(losses, n),
        "win_rate": {**share(sum(points), n), "stderr": mean_estimate(points)["stderr"]},
        "p_value": sign_test(wins, losses),
        **{key: outcomes[key] for key in ("identical", "unreadable", "no_reply", "unanswered")},
        "position": position_bias([row for row in known if row["outcome"] == "judged"]),
        "length": length_bias(known, models),
    }


def position_bias(rows: Sequence[Judged]) -> dict[str, Any]:
    """Return how often both orders agree, and which place is preferred where they do not.

    ``first`` is the share of pairs in which the judge chose what stood first both times, and
    ``second`` what stood second; ``half`` is a tie in one order only. ``first_place`` is the share
    of all single verdicts for a side that are for the first place: 0.5 is fair.
    """
    pairs = [tuple(asked["verdict"] for asked in row["asked"]) for row in rows]
    n = len(pairs)
    first = sum(pair == ("first", "first") for pair in pairs)
    second = sum(pair == ("second", "second") for pair in pairs)
    half = sum(("tie" in pair) and pair != ("tie", "tie") for pair in pairs)
    sides = [verdict for pair in pairs for verdict in pair if verdict != "tie"]
    return {
        "consistent": share(n - first - second - half, n),
        "first": share(first, n),
        "second": share(second, n),
        "half": share(half, n),
        "first_place": share(sides.count("first"), len(sides)),
    }


def length_bias(rows: Sequence[Judged], models: Sequence[str]) -> dict[str, Any]:
    """Return how often the longer answer (characters) won, and the win rate by who was longer.

    A judge that looks at length alone has a win rate of 1 where the first model is longer and of
    0 where it is shorter; one that does not care has the same in both.
    """
    one, other = models
    uneven = [row for row in rows if row["chars"][one] != row["chars"][other]]
    decided = [row for row in uneven if row["winner"] != "tie"]
    longer = [max(models, key=lambda model: row["chars"][model]) for row in decided]
    won = sum(row["winner"] == model for row, model in zip(decided, longer, strict=True))

    def rate(some: Sequence[Judged]) -> dict[str, Any]:
        points = [{one: 1.0, other: 0.0}.get(row["winner"], 0.5) for row in some]
        return share(sum(points), len(points))

    return {
        "longer_wins": share(won, len(decided)),
        "rate_when_longer": rate([r for r in uneven if r["chars"][one] > r["chars"][other]]),
        "rate_when_shorter": rate([r for r in uneven if r["chars"][one] < r["chars"][other]]),
    }
