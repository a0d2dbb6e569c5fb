"""Scores of the answers to the rows of each tag, for a figure of all rows hides a weak part."""

from __future__ import annotations

from collections.abc import Sequence

from sftflow.estimates import mean_estimate
from sftflow.scoring import WHOLES, Row, Scores, chosen_metrics, row_values


def tag_scores(rows: Sequence[Row], metrics: Sequence[str] | None = None) -> dict[str, Scores]:
    """Return the scores of each tag, {} if no row has any; a row counts for all its tags.

    Only of metrics that each answer has a value of: the BLEU of nine rows says nothing.
    """
    answered = [row for row in rows if row["answer"] is not None]
    places: dict[str, list[int]] = {}
    for place, row in enumerate(answered):
        for tag in row.get("tags") or ():
            places.setdefault(tag, []).append(place)
    if not places:
        return {}
    values = {}
    for name in chosen_metrics(rows, metrics):
        if name not in WHOLES:
            values |= row_values(name, answered)
    return {
        tag: {
            metric: mean_estimate(each[i] for i in chosen if each[i] is not None)
            for metric, each in values.items()
        }
        for tag, chosen in sorted(places.items())
    }
