"""What the config can know of a start model before it is there: its config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftflow.modelshape import made_config


def max_positions(config: dict, root: Path, base: str) -> int | None:
    """Return the longest sequence of a base (tokens), None where only the hub knows."""
    return base_number(config, root, base, "max_position_embeddings")


def base_number(config: dict, root: Path, base: str, key: str) -> int | None:
    """Return a number of a base's config.json; None without it, or where only the hub knows."""
    return base_config(config, root, base).get(key)


def base_config(config: dict, root: Path, base: str) -> Mapping[str, Any]:
    """Return a base's config.json; {} where there is none yet, or only the hub has it."""
    entry = config["bases"][base]
    if entry["make"] is not None:
        return made_config(entry["make"])
    if entry["path"] is None:
        return {}
    return read_config(root / entry["path"])


def read_config(folder: Path) -> Mapping[str, Any]:
    """Return the config.json of a model's folder; {} if it can't be read."""
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
