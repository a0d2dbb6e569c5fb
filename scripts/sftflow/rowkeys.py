"""The keys of a raw row: which of several names it uses, and which nothing was taken from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Taken:
    """A row that remembers which of its keys were asked for."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        """Begin with no key asked for."""
        self.row, self.asked = row, set()

    def get(self, key: str) -> Any:
        """Return the value of a key, None if it is not there."""
        self.asked.add(key)
        return self.row.get(key)

    def first(self, *keys: str) -> str | None:
        """Return the first of ``keys`` with a value, else the first that is there at all."""
        self.asked.update(keys)
        return first_key(self.row, *keys)

    def unused(self) -> list[str]:
        """Return the keys with a value that nobody asked for."""
        return sorted(k for k, v in self.row.items() if k not in self.asked and v is not None)


def first_key(row: Mapping[str, Any], *keys: str) -> str | None:
    """Return the first of ``keys`` with a value, else the first that is there at all."""
    full = next((key for key in keys if row.get(key) is not None), None)
    return full or next((key for key in keys if key in row), None)
