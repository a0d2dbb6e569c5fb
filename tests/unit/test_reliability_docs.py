"""docs/reliability.md says of each entry which test shows it: these tests must exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

REPO = Path(__file__).parents[2]
PAGE = (REPO / "docs/reliability.md").read_text(encoding="utf-8")
# `unit/test_x.py::test_name` or `unit/test_x.py::test_name[entry of its table]`
NAMED = re.compile(r"`(\w+/test_\w+\.py)::(test_\w+)(?:\[([^]`]+)\])?`")
ROW = re.compile(r"^\| (.+?) \| (.+) \| (.+?) \|$", re.MULTILINE)


@cache
def text_of(file: str) -> str:
    return (REPO / "tests" / file).read_text(encoding="utf-8")


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse(text_of(file))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_each_named_test_exists():
    named = NAMED.findall(PAGE)
    assert len(named) > 100
    missing = [f"{file}::{test}" for file, test, _ in named if test not in functions_of(file)]
    missing += [entry for file, _, entry in named if entry and f'"{entry}"' not in text_of(file)]
    assert missing == []


def test_each_entry_has_a_test_or_a_reason():
    rows = [row for row in ROW.findall(PAGE) if not set(row[0]) <= set("-: ")]
    assert len(rows) > 120
    for entry, what, shown in rows:
        assert shown == "shown by" or NAMED.search(shown) or shown.startswith("out of scope"), entry
        assert what.strip(), entry
