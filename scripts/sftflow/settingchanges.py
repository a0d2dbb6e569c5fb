"""What differs between two sets of settings, a clause each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

SHOWN = 3  # changes of one kind that are told; the rest is counted


def shortened(clauses: list[str]) -> list[str]:
    """Return the first clauses and how many more there are."""
    more = len(clauses) - SHOWN
    return clauses if more <= 1 else [*clauses[:SHOWN], f"and {more} more such changes"]


def value_text(value: Any) -> str:
    """Return a setting's value, cut where it is long."""
    plain = isinstance(value, str) and value != ""
    text = value if plain else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def setting_changes(then: Any, now: Any, key: str = "") -> Iterator[str]:
    """Yield ``key: old -> new`` for every setting that differs, keys dotted as in the config."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*then, *now]):
            below = f"{key}.{name}" if key else str(name)
            if name not in then:
                yield f"{below}: {value_text(now[name])} is new"
            elif name not in now:
                yield f"{below}: {value_text(then[name])} is gone"
            else:
                yield from setting_changes(then[name], now[name], below)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (old, new) in enumerate(zip(then, now, strict=True)):
            yield from setting_changes(old, new, f"{key}[{_step_name(old, number)}]")
    elif then != now:
        yield f"{key}: {value_text(then)} -> {value_text(now)}"


def _step_name(item: Any, number: int) -> Any:
    """Return what an item of a list is called: cleaning steps have a name."""
    return item["step"] if isinstance(item, Mapping) and "step" in item else number
