"""The long table of everything measured: one row per model and metric, kept as CSV.

A value, standard error or count that is not known is an empty cell, never 0.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from sftflow.manifests import write_text
from sftflow.spreadsheets import inert
from sftflow.stage import StageError

#: The metric of a group that was asked for and of which nothing is there.
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Measurement:
    """One figure about one model."""

    model: str
    kind: str  # base or tuned
    group: str  # a suite's name, scores, latency or loss
    metric: str
    value: float | None
    stderr: float | None = None
    n: int | None = None  # items, requests or tokens behind the value


COLUMNS = tuple(field.name for field in fields(Measurement))


def with_gaps(measured: Iterable[Measurement], asked: Iterable[Measurement]) -> list[Measurement]:
    """Return ``measured`` and an empty row for each thing that is not there.

    A row of ``asked`` names a model, a group and, as its metric, how the metrics begin that
    the config asks for ("" for all of the group). A metric that another model has there is
    missed; where no model has any, one row says that nothing was measured.
    """
    measured = list(measured)
    have: dict[tuple[str, str], dict[str, None]] = {}
    metrics: dict[str, dict[str, None]] = {}
    for m in measured:
        have.setdefault((m.model, m.group), {})[m.metric] = None
        metrics.setdefault(m.group, {})[m.metric] = None
    gaps: dict[Measurement, None] = {}
    for ask in asked:
        mine = have.get((ask.model, ask.group), {})
        wanted = [m for m in metrics.get(ask.group, {}) if m.startswith(ask.metric)]
        if not wanted and not mine:
            wanted = [NOT_MEASURED]
        for metric in wanted:
            if metric not in mine:
                gaps[Measurement(ask.model, ask.kind, ask.group, metric, None)] = None
    return [*measured, *gaps]


def write_summary(path: Path | str, rows: Iterable[Measurement]) -> None:
    """Write the table; figures as Python's shortest exact text, so equal figures equal bytes."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        table.writerow([_cell(value) for value in astuple(row)])
    write_text(path, out.getvalue())


def read_summary(path: Path | str) -> list[Measurement]:
    """Return the table; raise StageError naming the line that is not a row of it."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            table = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StageError(f"{path} is not a readable CSV file ({error}); delete it") from None
    if not table or tuple(table[0]) != COLUMNS:
        raise StageError(f"{path} does not begin with {','.join(COLUMNS)}; delete it and run again")
    return [_row(path, line, cells) for line, cells in enumerate(table[1:], start=2)]


def _cell(value: str | float | None) -> str:
    """Return the text of a cell, with which no spreadsheet does anything."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return repr(value)
    return inert(value)


def _row(path: Path | str, line: int, cells: list[str]) -> Measurement:
    try:
        model, kind, group, metric, value, stderr, n = cells
        row = Measurement(
            model, kind, group, metric, _figure(value), _figure(stderr), int(n) if n else None
        )
    except ValueError as error:
        raise StageError(f"{path}, line {line}: {error}; delete the file and run again") from None
    if row.kind not in ("base", "tuned"):
        raise StageError(f"{path}, line {line}: kind is '{row.kind}', expected base or tuned")
    return row


def _figure(text: str) -> float | None:
    if not text:
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"'{text}' is not a finite number")
    return value
