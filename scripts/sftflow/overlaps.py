"""Rows that overlap with the questions of benchmark suites, as contamination.json tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sftflow.measured import read_object
from sftflow.rowsamples import shortened

MATCHES = 20  # shown on the page


def overlap_facts(path: Path) -> dict[str, Any]:
    """Return {rows, matches, more}: rows with an overlap, and the first matches with their span.

    The file is {counts: {rows_with_overlap, ...}, matches: [{source, row, suite, task, doc,
    span}, ...]}.
    """
    said = read_object(path)
    matches = said["matches"]
    shown = [{**m, "span": shortened(str(m["span"]), 400)} for m in matches[:MATCHES]]
    return {
        "rows": said["counts"]["rows_with_overlap"],
        "matches": shown,
        "more": len(matches) - len(shown),
    }
