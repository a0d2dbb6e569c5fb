"""Bounds on YAML: aliases make a billion values of a few lines, nesting ends the process."""

from __future__ import annotations

import re
from typing import Any

import yaml

MOST_VALUES = 1_000_000  # this project's schema, the largest file that is read, has 2,400
MOST_LEVELS = 1000


def check_depth(text: str) -> None:
    """Raise YAMLError if ``text`` is nested too deeply for the loaders in C.

    They recurse without a bound: 20,000 brackets are a segmentation fault. Each level costs a
    bracket, or a column before what a line says; only where these could do is counted exactly.
    """
    if not hasattr(yaml, "CSafeLoader"):
        return  # the one in Python raises RecursionError
    columns = max(map(len, re.findall(r"^[ \-?:]*", text, flags=re.MULTILINE)))
    if columns + text.count("[") + text.count("{") < MOST_LEVELS:
        return
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_LEVELS:
            raise yaml.YAMLError(f"it is nested more than {MOST_LEVELS:,} levels deep")


def check_size(value: Any) -> None:
    """Raise YAMLError if ``value``, written out without aliases, is too large or holds itself."""
    sizes: dict[int, int] = {}
    open_ones: set[int] = set()

    def size(node: Any) -> int:
        if not isinstance(node, dict | list):
            return 1
        if id(node) in open_ones:
            raise yaml.YAMLError("an alias refers to what it stands in")
        if id(node) not in sizes:
            open_ones.add(id(node))
            below = node.values() if isinstance(node, dict) else node
            sizes[id(node)] = 1 + sum(map(size, below))
            open_ones.remove(id(node))
        if sizes[id(node)] > MOST_VALUES:
            raise yaml.YAMLError(f"aliases make more than {MOST_VALUES:,} values of it")
        return sizes[id(node)]

    size(value)
