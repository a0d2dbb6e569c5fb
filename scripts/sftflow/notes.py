"""What a person should hear about without a row being lost: counted, with the first place."""

from __future__ import annotations

from typing import Any

MOST_NAMES = 100  # codes with a name in them that are kept: a hostile file has no end of columns


class Notes:
    """Counts warnings by a short code and remembers where each was seen first."""

    def __init__(self) -> None:
        """Start without any."""
        self._counts: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def add(self, code: str, where: str = "", n: int = 1) -> None:
        """Count ``code`` ``n`` times; ``where`` is a file or a file and row."""
        if ":" in code and code not in self._counts and len(self._counts) >= MOST_NAMES:
            code = code.split(":")[0] + ":(others)"
        self._counts[code] = self._counts.get(code, 0) + n
        self._first.setdefault(code, where)

    def __getitem__(self, code: str) -> int:
        """Return how often ``code`` was counted."""
        return self._counts.get(code, 0)

    def summary(self) -> dict[str, Any]:
        """Return {code: {"count": n, "first": place}} in the order of the codes."""
        return {
            code: {"count": self._counts[code], "first": self._first[code] or None}
            for code in sorted(self._counts)
        }
