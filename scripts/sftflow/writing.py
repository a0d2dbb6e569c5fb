"""Which script and which language a text is written in."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache

LOOKED_AT = 400  # characters of a text: more change neither figure and cost time
UNSURE = "unsure"
# Fewer letters than this say little about a language ("hello" is Breton to py3langid).
LETTERS = 20
HAN_LETTERS = 4


def main_script(text: str) -> str:
    """Return the writing system that most letters of ``text`` belong to, by Unicode's names."""
    scripts = _scripts(text)
    if not scripts:
        return "no letters"
    name = max(sorted(scripts), key=scripts.__getitem__)
    return {"CJK": "Han"}.get(name, name.capitalize())


def _scripts(text: str) -> Counter[str]:
    if text.isascii():  # the same, faster
        letters = sum(map(str.isalpha, text))
        return Counter({"LATIN": letters} if letters else {})
    return Counter(_script(char) for char in text if char.isalpha())


@cache
def _script(char: str) -> str:
    return unicodedata.name(char, "UNKNOWN").split(" ")[0].split("-")[0]


def language(text: str) -> str:
    """Return the ISO 639 code that py3langid gives the beginning of ``text``.

    ``unsure`` where there are too few letters to tell.
    """
    text = text[:LOOKED_AT]
    scripts = _scripts(text)
    dense = scripts["CJK"] + scripts["HIRAGANA"] + scripts["KATAKANA"] + scripts["HANGUL"]
    if dense < HAN_LETTERS and scripts.total() < LETTERS:
        return UNSURE
    import py3langid  # loads its model at the first call, a second

    return py3langid.classify(text)[0]
