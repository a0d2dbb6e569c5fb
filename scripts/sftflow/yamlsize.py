"""A bound on what a YAML file stands for: with aliases a few lines mean a billion values."""

from __future__ import annotations

from typing import Any

import yaml

MOST_VALUES = 1_000_000  # this project's schema, the largest file that is read, has 2,400


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
