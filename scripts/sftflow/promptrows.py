"""The fixed prompts as what a model is asked: ids, tools as text, and the reference apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.promptfile import read_prompts
from sftflow.records import content_id
from sftflow.stage import StageError


def split_answer(messages: Sequence[Mapping[str, Any]]) -> tuple[list, str | None]:
    """Return the prompt and the reference: what the closing assistant message says.

    A conversation that closes otherwise is a prompt as a whole, and has no reference.
    """
    if not messages or messages[-1]["role"] != "assistant":
        return list(messages), None
    return list(messages[:-1]), messages[-1]["content"]


def file_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the prompts of a file with their ids; raise StageError naming the line at fault."""
    try:
        for row in read_prompts(path):
            tools = row.get("tools")
            tools = json.dumps(tools) if isinstance(tools, list) else tools
            row_id = str(row["id"]) if "id" in row else content_id(row)
            yield {**row, "id": row_id, "tools": tools, "reference": row.get("reference")}
    except ValueError as error:
        raise StageError(str(error)) from None
