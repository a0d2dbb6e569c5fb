"""The lists of phrases and strings under scripts/lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sftflow.stage import StageError

FOLDER = Path(__file__).parents[1] / "lists"


def shipped_list(name: str) -> dict[str, Any]:
    """Return what the list ``name`` says."""
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def phrase_form(phrases: Sequence[str], where: str, after: str = "") -> re.Pattern[str]:
    """Return one expression for any of ``phrases``, upper and lower case alike.

    Raises StageError naming the one that is no regular expression.
    """
    for phrase in phrases:
        try:
            re.compile(phrase)
        except re.error as error:
            raise StageError(f"{where}: {phrase!r} is no regular expression: {error}") from None
    return re.compile(f"(?:{'|'.join(f'(?:{phrase})' for phrase in phrases)}){after}", re.I)
