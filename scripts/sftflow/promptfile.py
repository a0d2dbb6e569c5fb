"""A file of fixed prompts: JSON lines of {"messages": [...]}, maybe with id, tools, reference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_prompts(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the prompts of a file as they stand; raise ValueError naming the line at fault."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _prompt(line, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} can't be read: {error}") from None


def _prompt(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        messages = [{"role": str(m["role"]), **m} for m in row["messages"]]
        if not messages or not all(isinstance(m["content"], str) for m in messages):
            raise ValueError("messages must be a list of role and content")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f'{where} is not a prompt {{"messages": [{{"role": ..., "content": ...}}]}} '
            f"({type(error).__name__}: {error})"
        ) from None
    return {**row, "messages": messages}
