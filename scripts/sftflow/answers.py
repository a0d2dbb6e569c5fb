"""Reading JSON Lines: a model's answers, a row per prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable
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
