"""How far a dataset has moved away from an earlier one: both portraits, figure by figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Shares = Mapping[Any, float]
# A value with fewer rows in both together is rare; the chance that counts as none; a distance
# that counts as nothing.
RARE, ONCE_IN, NOTICEABLE = 10, 0.001, 0.05
SPANS = 20
SHOWN_SHARE = 0.005  # of rows, now or before
# Lengths and counts as portrait.json names them, and as the page does.
LENGTHS = {
    "prompt_chars": "prompt length (characters)",
    "answer_chars": "answer length (characters)",
    "turns": "answers per row",
}
KINDS = {"sources": "sources", "scripts": "writing of the prompts"}


def js_distance(one: Shares, other: Shares) -> float | None:
    """Return the Jensen-Shannon distance of two distributions of counts; None if one is empty.

    The square root of the divergence of Lin (1991, IEEE Trans. Inf. Theory 37), base 2: 0 for
    equal shares, 1 where nothing is in common; symmetric.
    """
    from scipy.spatial.distance import jensenshannon

    keys = sorted({*one, *other}, key=lambda key: (key is None, str(key)))
    first, second = ([counts.get(key, 0) for key in keys] for counts in (one, other))
    if not sum(first) or not sum(second):
        return None
    # Rounding may leave a divergence of equal shares a hair below 0, whose root is no number.
    distance = float(jensenshannon(first, second, base=2))
    return 0.0 if math.isnan(distance) else min(1.0, distance)


def by_chance(kinds: int, one: int, other: int) -> float | None:
    """Return the distance that two draws from one population of ``kinds`` have on average.

    To second order the divergence is chi-square / 8 of the difference of shares, whose mean is
    (kinds - 1) (1/n + 1/m) in nats; tests/unit/test_drift.py holds it against drawn samples.
    """
    if not one or not other:
        return None
    return math.sqrt((kinds - 1) * (1 / one + 1 / other) / (8 * math.log(2)))


def has_moved(one: Shares, other: Shares) -> bool:
    """Say whether two draws from one population would differ so much once in a thousand times.

    Pearson's chi-square test of homogeneity, over values that are not too rare for it.
    """
    from scipy.stats import chi2_contingency

    table = [pair for pair in pooled(one, other) if sum(pair)]
    if len(table) < 2 or not all(map(sum, zip(*table, strict=True))):
        return False
    return bool(chi2_contingency(table, correction=False).pvalue < ONCE_IN)


def pooled(one: Shares, other: Shares) -> list[tuple[float, float]]:
    """Return pairs of counts in which rare values stand together: the test needs some of each.

    Lengths are joined with their neighbours, to about twenty spans; other values as one rest.
    """
    keys = {*one, *other}
    ordered = all(isinstance(key, int) for key in keys)
    enough = max(RARE, (sum(one.values()) + sum(other.values())) / SPANS) if ordered else RARE
    pairs: list[tuple[float, float]] = []
    rest = (0.0, 0.0)
    for key in sorted(keys) if ordered else keys:
        n, m = one.get(key, 0), other.get(key, 0)
        if ordered or n + m < enough:
            rest = (rest[0] + n, rest[1] + m)
            if ordered and sum(rest) >= enough:
                pairs.append(rest)
                rest = (0.0, 0.0)
        else:
            pairs.append((n, m))
    return [*pairs, rest]


def measured(label: str, one: Shares, other: Shares) -> dict[str, Any]:
    """Return {label, distance, chance, moved} of two distributions of counts."""
    distance = js_distance(one, other)
    chance = by_chance(len({*one, *other}), sum(one.values()), sum(other.values()))
    # Of many rows the test sees differences that nobody would care about.
    moved = distance is not None and distance > NOTICEABLE and has_moved(one, other)
    return {"label": label, "distance": distance, "chance": chance, "moved": moved}


def compared(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the distance of two portraits for each figure that is a distribution."""
    lines = [
        measured(label, *(dict(p["lengths"][name]["bins"]) for p in (now, before)))
        for name, label in LENGTHS.items()
    ]
    for side in ("prompts", "answers"):
        pair = (dict(p["languages"][side]) for p in (now, before))
        lines.append(measured(f"languages of the {side}", *pair))
    for name, label in KINDS.items():
        lines.append(measured(label, *(dict(p[name]) for p in (now, before))))
    for name in sorted(now["columns"].keys() & before["columns"].keys()):
        label = "tags" if name == "tags" else f"column {name}"
        lines.append(measured(label, *(dict(p["columns"][name]) for p in (now, before))))
    lines.append(measured("first words of the prompts", *map(first_words, (now, before))))
    return lines


def first_words(portrait: Mapping[str, Any]) -> dict[str | None, int]:
    """Return how many prompts begin with each word; None stands for those not listed."""
    said = portrait["openings"]
    counts: dict[str | None, int] = {w["word"]: w["texts"] for w in said["words"]}
    rest = said["texts"] - sum(counts.values())
    return {**counts, None: rest} if rest else counts


def side_by_side(
    now: list[list[Any]], before: list[list[Any]], most: int = 10
) -> list[dict[str, Any]]:
    """Return the most frequent values with their share of rows now and before."""
    pairs = [dict(now), dict(before)]
    totals = [sum(counts.values()) for counts in pairs]
    values = sorted({*pairs[0], *pairs[1]} - {None})
    rows = [
        {
            "value": value,
            "now": pairs[0].get(value, 0) / totals[0] if totals[0] else 0.0,
            "before": pairs[1].get(value, 0) / totals[1] if totals[1] else 0.0,
        }
        for value in values
    ]
    rows = [row for row in rows if max(row["now"], row["before"]) >= SHOWN_SHARE]
    return sorted(rows, key=lambda row: (-max(row["now"], row["before"]), row["value"]))[:most]
