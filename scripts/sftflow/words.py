"""What counts as a word, in scripts with spaces and without."""

from __future__ import annotations

import re
import unicodedata

# Scripts that put no spaces between words (Thai, kana, Han): each letter counts as a word.
UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
ALONE = re.compile(rf"[{UNSPACED}]")


def words(text: str) -> list[str]:
    """Return the words of any script in small letters, without punctuation."""
    return WORD.findall(unicodedata.normalize("NFKC", text).lower())


def opening(text: str) -> tuple[str, str]:
    """Return the first two words of a text; of a script without spaces, two letters for each.

    One Han letter says little (请, "please"), two are mostly a word.
    """
    said = words(text)
    if said and ALONE.fullmatch(said[0]):
        run = said[:4]
        return "".join(run[:2]), "".join(run[2:])
    return (said[0] if said else "", said[1] if len(said) > 1 else "")
