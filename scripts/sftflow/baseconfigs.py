"""What the config can know of a start model before it is there: numbers of its config.json."""

from __future__ import annotations

import json
from pathlib import Path


def max_positions(config: dict, root: Path, base: str) -> int | None:
    """Return the longest sequence of a base (tokens), None where only the hub knows."""
    return base_number(config, root, base, "max_position_embeddings")


def base_number(config: dict, root: Path, base: str, key: str) -> int | None:
    """Return a number of a base's config.json; None without it, or where only the hub knows."""
    entry = config["bases"][base]
    if entry["make"] is not None:
        return entry["make"].get(key)
    if entry["path"] is None:
        return None
    try:
        said = json.loads((root / entry["path"] / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return said.get(key) if isinstance(said, dict) else None
