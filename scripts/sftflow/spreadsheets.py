"""Text in a table that people open in a spreadsheet."""

from __future__ import annotations

# What a formula begins with, in the width of East Asian scripts too, behind any white space
# (OWASP, CSV Injection).
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
MOVES = ("\t", "\r", "\n")


def inert(text: str) -> str:
    """Return a text that no spreadsheet runs as a formula: a leading ' keeps it one."""
    runs = text.startswith(MOVES) or text.lstrip().startswith(FORMULA)
    return f"'{text}" if runs else text
