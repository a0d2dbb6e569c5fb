"""The group and the tags of a row, from the columns that a source names for them.

Rows of one group (a customer, a document, a session) must not stand on two sides of a split; a
tag says what a row is about. Neither is said in the conversation, so neither is part of its id.
"""

from __future__ import annotations

import difflib
import math
import unicodedata
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

from sftflow.jsontext import Refused, parse

LABELS = ("group", "tags")
MOST_NAMES = 12  # columns that are listed for a person
EXACT = 1 << 53  # a float below it that has no fraction is one integer and no other


def conversation_columns(columns: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the ``columns`` of a source that hold what is said; None if it names none."""
    said = {part: name for part, name in (columns or {}).items() if part not in LABELS}
    return said or None


class Labels:
    """Reads the labels of a source's rows, and knows whether the columns named were ever there."""

    def __init__(self, columns: Mapping[str, Any] | None) -> None:
        """Take ``columns`` of a source: ``group`` is a name, ``tags`` a name or a list of them."""
        named = columns or {}
        tags = named.get("tags") or []
        self.group: str | None = named.get("group")
        self.tags: list[str] = [tags] if isinstance(tags, str) else tags
        self.columns = {*self.tags, *([self.group] if self.group else [])}
        self._absent = dict.fromkeys([*([self.group] if self.group else []), *self.tags])
        self._names: list[str] = []  # of the columns of the first row

    def of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return {group, tags} of a row, null where it has none; raise Refused for no label."""
        if self._absent:
            self._absent = {name: None for name in self._absent if name not in row}
            self._names = self._names or [str(name)[:40] for name in row]
        group = label(row.get(self.group), self.group, "group") if self.group else None
        tags = [tag for name in self.tags for tag in _tags(row.get(name), name)]
        return {"group": group, "tags": list(dict.fromkeys(tags)) or None}

    def fault(self, source: str) -> str | None:
        """Return what is wrong if a column that is named was in no row; None if all is well."""
        if not self._absent or not self._names:
            return None
        name = next(iter(self._absent))
        part = "group" if name == self.group else "tags"
        close = difflib.get_close_matches(name, self._names, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else "name one of them or leave it out"
        listed = ", ".join(self._names[:MOST_NAMES])
        return (
            f"source {source}: no row has the column '{name}' of columns.{part}; "
            f"the first row has [{listed}]: {hint}"
        )


def label(value: Any, column: str, part: str) -> str | None:
    """Return a group or a tag as text; None for null, NaN and blank text.

    7, 7.0 (which a column of whole numbers with gaps becomes) and "7" are one label. Raises
    Refused for lists and objects.
    """
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value.strip()) or None
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < EXACT else repr(value)
    if isinstance(value, int | Decimal | date | time):
        return str(value)
    kinds = {list: "a list", dict: "an object"}
    what = kinds.get(type(value), type(value).__name__)
    raise Refused(f"invalid_{part}", f"{column!r} is {what}, expected text or a number")


def _tags(value: Any, column: str) -> list[str]:
    items = value if isinstance(value, list) else _listed(value)
    tags = [label(item, column, "tags") for item in items]
    return [tag for tag in tags if tag is not None]


def _listed(value: Any) -> list[Any]:
    """Return the items of a list that is written as JSON text (CSV has no other way)."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            found = parse(value)
        except Refused:
            return [value]
        return found if isinstance(found, list) else [value]
    return [value]
