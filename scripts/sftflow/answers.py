"""Reading JSON Lines: a model's answers, a row per prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sftflow.stage import StageError


def read_jsonl(path: Path | str) -> Iterable[dict[str, Any]]:
    """Yield the objects of a JSON Lines file; raise StageError naming the line at fault."""
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise StageError(f"{path}, line {number} is not JSON ({error})") from None
            if not isinstance(row, dict):
                raise StageError(f"{path}, line {number} is not a JSON object")
            yield row


def rows_by_set(
    path: Path, names: Iterable[str], others: bool = False
) -> dict[str, list[Mapping[str, Any]]]:
    """Return each set's answers of a file; raise StageError for a row that can't be scored.

    Rows of ``others`` may be there and are left out; else they are a fault.
    """
    sets: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
    seen: set[tuple[str, str]] = set()
    for line, row in enumerate(read_jsonl(path), start=1):
        name, place = row.get("set"), (str(row.get("set")), str(row.get("id")))
        if name not in sets and others:
            continue
        if name not in sets:
            raise StageError(
                f"{path}, line {line}: set '{name}' was not asked for; delete the file"
            )
        if place in seen:
            raise StageError(f"{path}, line {line}: '{row.get('id')}' is answered twice")
        if row.get("answer") is None and row.get("finish_reason") == "prompt_too_long":
            row = {**row, "answer": ""}  # no room to answer: wrong, and counted as such
        for key in ("answer", "reference"):
            if key not in row or not isinstance(row[key], str | None):
                raise StageError(f"{path}, line {line}: {key} is neither text nor null")
        seen.add(place)
        sets[name].append(row)
    return sets
