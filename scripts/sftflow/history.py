"""The course of a training as a table, history.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

HISTORY = ("step", "epoch", "loss", "learning_rate", "grad_norm", "eval_loss", "tokens")


def history_rows(
    log: list[dict[str, Any]], more: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return one row per logged step; what was not measured there stays empty.

    ``more`` says which further figures of the log are kept: their name there -> in the table.
    """
    names = {name: name for name in ("epoch", "loss", "learning_rate", "grad_norm", "eval_loss")}
    names |= more or {}
    rows: dict[int, dict[str, Any]] = {}
    for entry in log:
        row = rows.setdefault(entry["step"], {"step": entry["step"]})
        for name, column in names.items():
            if name in entry:
                row[column] = entry[name]
        if "num_input_tokens_seen" in entry:
            row["tokens"] = entry["num_input_tokens_seen"]
    return [rows[step] for step in sorted(rows) if len(rows[step]) > 2]


def history_csv(rows: list[dict[str, Any]], more: Iterable[str] = ()) -> str:
    """Return the history as CSV text, with ``more`` columns after its own."""
    text = io.StringIO()
    writer = csv.DictWriter(text, (*HISTORY, *more), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
