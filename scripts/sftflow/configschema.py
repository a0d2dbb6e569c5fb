"""config/schema.yaml, and a config with every default that it gives filled in."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

from sftflow.configfile import read_yaml


@cache
def schema() -> dict:
    """Return config/schema.yaml of this repository."""
    return read_yaml(Path(__file__).parents[2] / "config" / "schema.yaml")


def resolved(node: dict) -> dict:
    """Follow $ref, keeping what stands beside it (a default)."""
    while "$ref" in node:
        target: Any = schema()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
    return node


def fill_defaults(value: Any, node: dict | None = None) -> Any:
    """Return a copy of ``value`` in which every key that the schema gives a default stands."""
    node = resolved(schema() if node is None else node)
    if isinstance(value, list):
        return [fill_defaults(item, node["items"]) if "items" in node else item for item in value]
    if not isinstance(value, dict):
        for option in node.get("anyOf", []):
            if isinstance(value, dict):
                return fill_defaults(value, option)
        return int(value) if _whole(value, node) else copy.deepcopy(value)
    if "anyOf" in node:
        node = next(o for o in map(resolved, node["anyOf"]) if o.get("type") == "object")
    if "allOf" in node:  # cleaning steps and ways of making data: options by their name
        kind, name = ("steps", "step") if "step" in value else ("makes", "method")
        node = {**node, "properties": schema()["$defs"][kind][value[name]]["properties"]}
    known = node.get("properties", {})
    other = node.get("additionalProperties")
    filled = {}
    for key, item in value.items():
        below = known.get(key, other)
        filled[key] = fill_defaults(item, below) if isinstance(below, dict) else item
    for key, below in known.items():
        below = resolved(below)
        if key not in filled and "default" in below:
            filled[key] = fill_defaults(copy.deepcopy(below["default"]), below)
    return filled


def _whole(value: Any, node: dict) -> bool:
    """Tell a whole number that is written as 1e3 or 8.0.

    It is the same setting as 1000 or 8: range() takes no other, and a manifest that says 8.0 where
    it said 8 is another file. Bounds of a search stay as written: whole ones draw whole numbers.
    """
    kinds = node.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    whole = isinstance(value, float) and value.is_integer()
    return whole and not node.get("as_written") and bool(kinds & {"integer", "number"})
