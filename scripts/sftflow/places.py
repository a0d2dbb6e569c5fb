"""Where many records came from, in 8 bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

ROW_BITS = 48


class Places:
    """Source, file and row of records, numbered from 0."""

    def __init__(self) -> None:
        """Start without any."""
        self._files: dict[tuple[str, str | None], int] = {}
        self._names: list[str] = []
        self._places = array("Q")

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in the place of the next record."""
        file = (record["source"], record["file"])
        number = self._files.setdefault(file, len(self._files))
        if number == len(self._names):
            self._names.append(" ".join(part for part in file if part))
        self._places.append(number << ROW_BITS | record["row"])

    def __getitem__(self, number: int) -> str:
        """Return the place of a record for a person: source file:row."""
        place = self._places[number]
        return f"{self._names[place >> ROW_BITS]}:{place & (1 << ROW_BITS) - 1}"
