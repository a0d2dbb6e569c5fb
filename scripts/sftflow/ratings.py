"""Filled scoring sheets: read strictly, and brought together per model and criterion."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftflow.agreement import krippendorff_alpha
from sftflow.estimates import mean_estimate
from sftflow.sheets import CRITERIA, HIGHEST, LOWEST
from sftflow.stage import StageError

DELIMITERS = ",;\t"
MOST_TOLD = 5
SCORES = {str(score): score for score in range(LOWEST, HIGHEST + 1)}


@dataclass(frozen=True)
class Rating:
    """What one person thinks of one answer; a criterion that was left empty is not there."""

    rater: str
    item: str
    scores: dict[str, int]
    place: str  # file and row


def read_sheet(path: Path) -> list[Rating]:
    """Return the ratings of a filled sheet; rows without a score are left out.

    A rater is who the column ``rater`` names, else the file. Raises StageError naming file, row
    and column of every cell that is no score.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    ratings, faults = [], []
    for number, row in rows:
        where, scores = f"{path}, row {number}", {}
        item = str(row.get("item") or "").strip()
        for criterion in CRITERIA:
            cell = str(row.get(criterion) if row.get(criterion) is not None else "").strip()
            if not cell:
                continue
            score = SCORES.get(cell.removesuffix(".0"))
            if score is None:
                faults.append(f"row {number}, column {criterion}: {cell[:40]!r}")
            else:
                scores[criterion] = score
        if scores and not item:
            faults.append(f"row {number}, column item: is empty")
        if scores:
            rater = str(row.get("rater") or "").strip() or path.stem
            ratings.append(Rating(rater, item, scores, where))
    if faults:
        more = f" and {len(faults) - MOST_TOLD} more" if len(faults) > MOST_TOLD else ""
        told = "; ".join(faults[:MOST_TOLD])
        raise StageError(
            f"{path}: a score is a whole number from {LOWEST} to {HIGHEST} or an empty cell; mend "
            f"{told}{more}"
        )
    return ratings


def _csv_rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    """Yield (row as a spreadsheet numbers it, cells by column)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.split("\n", 1)[0]
        delimiter = max(DELIMITERS, key=first.count)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StageError(
            f"{path} can't be read as CSV in UTF-8 ({error}); save it as such"
        ) from None
    header = [name.strip().lower() for name in rows[0]] if rows else []
    _check_columns(path, header)
    for number, cells in enumerate(rows[1:], start=2):
        yield number, dict(zip(header, cells, strict=False))


def _json_rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig"))
        rows = [{"rater": said["rater"], **dict(row)} for row in said["ratings"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StageError(
            f'{path} is no saved sheet {{"rater": ..., "ratings": [...]}} '
            f"({type(error).__name__}: {error}); save it from sheet.html once more"
        ) from None
    yield from enumerate(rows, start=1)


def _check_columns(path: Path, header: Sequence[str]) -> None:
    missing = [name for name in ("item", *CRITERIA) if name not in header]
    if missing:
        raise StageError(
            f"{path}: the first row has no column {', '.join(missing)}; fill in sheet.csv as it is"
        )


def check_once(ratings: Iterable[Rating]) -> None:
    """Raise StageError if one person has scored one answer twice."""
    seen: dict[tuple[str, str], str] = {}
    for rating in ratings:
        key = (rating.rater, rating.item)
        if key in seen:
            raise StageError(
                f"{rating.place}: '{rating.rater}' has scored item {rating.item} already "
                f"({seen[key]}); leave one of the two out, or name the rater in the column rater"
            )
        seen[key] = rating.place


def by_prompt(
    ratings: Iterable[Rating], items: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, dict[tuple[str, str], float]]]:
    """Return model -> criterion -> prompt -> mean score of the raters.

    Raters who score the same answer say much the same, so a prompt counts once, however many
    there were.
    """
    scores: dict[tuple[str, str, tuple[str, str]], list[int]] = {}
    for rating in ratings:
        item = items[rating.item]
        for model in item["models"]:
            for criterion, score in rating.scores.items():
                place = (model, criterion, (item["set"], item["id"]))
                scores.setdefault(place, []).append(score)
    found: dict[str, dict[str, dict[tuple[str, str], float]]] = {}
    for (model, criterion, prompt), given in scores.items():
        mean = sum(given) / len(given)
        found.setdefault(model, {}).setdefault(criterion, {})[prompt] = mean
    return found


def with_interval(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean with its 95 % interval by Student's t: {value, stderr, n, low, high}.

    The bounds are null for fewer than two values.
    """
    from scipy.stats import t

    mean = mean_estimate(values)
    if mean["stderr"] is None:
        return {**mean, "low": None, "high": None}
    half = float(t.ppf(0.975, mean["n"] - 1)) * mean["stderr"]
    return {**mean, "low": mean["value"] - half, "high": mean["value"] + half}


def summary_of(
    ratings: Sequence[Rating],
    items: Mapping[str, Mapping[str, Any]],
    models: Sequence[str],
    pairs: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """Return each model's means, the differences of pairs on the same prompts, and agreement."""
    scores = by_prompt(ratings, items)

    def given(model: str, criterion: str) -> dict[tuple[str, str], float]:
        return scores.get(model, {}).get(criterion, {})

    differences = []
    for one, other in pairs:
        apart = {}
        for criterion in CRITERIA:
            left, right = given(one, criterion), given(other, criterion)
            both = [left[prompt] - right[prompt] for prompt in left if prompt in right]
            apart[criterion] = with_interval(both)
        differences.append({"models": [one, other], "criteria": apart})
    return {
        "raters": sorted({rating.rater for rating in ratings}),
        "ratings": len(ratings),
        "models": {
            model: {c: with_interval(list(given(model, c).values())) for c in CRITERIA}
            for model in models
        },
        "differences": differences,
        "agreement": agreement(ratings),
    }


def agreement(ratings: Sequence[Rating]) -> dict[str, dict[str, Any]]:
    """Return Krippendorff's alpha for ordinal data per criterion, with the items that count."""
    found = {}
    for criterion in CRITERIA:
        units: dict[str, list[int]] = {}
        for rating in ratings:
            if criterion in rating.scores:
                units.setdefault(rating.item, []).append(rating.scores[criterion])
        shared = [scores for scores in units.values() if len(scores) > 1]
        found[criterion] = {"alpha": krippendorff_alpha(shared), "items": len(shared)}
    return found
