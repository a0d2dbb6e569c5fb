"""Losses row by row, kept so that two models can be held against each other on the same rows.

A row of ``loss_rows.parquet`` is a row of the data or a stretch of a text: its loss, summed over
its scored tokens (nats), and how many these are. Tokens of a row are alike; what two models make
of different rows, or of stretches of 128 tokens, differs independently enough to draw them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftflow.losses import STRETCH, Score
from sftflow.records import write_table

if TYPE_CHECKING:
    import pyarrow as pa


def _schema() -> pa.Schema:
    import pyarrow as pa

    columns = {"loss": pa.string(), "row": pa.int32(), "nats": pa.float64(), "tokens": pa.int32()}
    return pa.schema(columns)


def loss_rows(scores: Mapping[str, Sequence[Score | None]]) -> Iterator[dict[str, Any]]:
    """Yield a row for each scored row of the data and for each stretch of a text."""
    for name, found in scores.items():
        number = 0
        for score in found:
            parts = _parts(score, name.startswith("text."))
            for nats, tokens in parts:
                yield {"loss": name, "row": number, "nats": nats, "tokens": tokens}
                number += 1


def _parts(score: Score | None, by_stretch: bool) -> list[tuple[float, int]]:
    if score is None:
        return [(0.0, 0)]  # keeps its place: another model may have it
    if not by_stretch:
        return [(score.loss, len(score.likeliest))]
    left = range(len(score.likeliest), 0, -STRETCH)
    return [(nats, min(STRETCH, n)) for nats, n in zip(score.stretches, left, strict=True)]


def write_loss_rows(path: Path, scores: Mapping[str, Sequence[Score | None]]) -> None:
    """Write the losses of all rows."""
    write_table(path, loss_rows(scores), _schema())
