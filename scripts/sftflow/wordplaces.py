"""Texts as words: what the search for benchmark questions compares.

In scripts that put spaces between words a word is a run of letters, digits and marks. In those
that don't (Chinese, Japanese, Thai ...) each character stands for itself, and a phrase of
``n`` words is as many characters as ``n`` words usually take (``characters_per_word``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

HAN = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
SOUTH_EAST_ASIAN = "\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
# Python's \w leaves out marks: they would cut Hindi, Arabic and decomposed Latin words to pieces.
MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
WORD = re.compile(f"[{HAN}{SOUTH_EAST_ASIAN}]|(?:(?![{HAN}{SOUTH_EAST_ASIAN}])[\\w{MARKS}])+")
SENTENCE_END = re.compile(r"[.?!:;\n。？！：；…।؟]")  # what may stand before or after a question
# Chinese words have 1.5 characters on average, Thai ones 4; kana lie nearer to the former.
PER_WORD = {HAN: 1.5, SOUTH_EAST_ASIAN: 4.0}
_SCRIPTS = {chars: re.compile(f"[{chars}]") for chars in PER_WORD}


class Word(NamedTuple):
    """A word, where it stands in the text, and whether a sentence may begin or end there."""

    text: str
    start: int
    end: int
    opens: bool
    closes: bool


def plain_text(text: str) -> str:
    """Return ``text`` in one form for each character (NFKC): the text that offsets refer to."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def word_texts(text: str) -> list[str]:
    """Return the words of a text, without differences of case and width, without punctuation."""
    plain = plain_text(text)
    if plain.isascii():
        return WORD.findall(plain.lower())
    return [word.casefold() for word in WORD.findall(plain)]


def words(text: str) -> list[Word]:
    """Return the words of a text with their places in ``plain_text(text)``."""
    plain = plain_text(text)
    found = list(WORD.finditer(plain))
    starts = [m.start() for m in found] + [len(plain)]
    ends = [0] + [m.end() for m in found]
    gaps = [plain[end:start] for end, start in zip(ends, starts, strict=True)]
    edges = [bool(SENTENCE_END.search(gap)) for gap in gaps]
    if edges:
        edges[0] = edges[-1] = True
    return [
        Word(m.group().casefold(), m.start(), m.end(), edges[i], edges[i + 1])
        for i, m in enumerate(found)
    ]


def characters_per_word(texts: Sequence[str]) -> float:
    """Return how many of these words make one of a language with spaces: 1.0, or more."""
    for chars, script in _SCRIPTS.items():
        single = sum(1 for word in texts if len(word) == 1 and script.match(word))
        if 2 * single > len(texts):
            return PER_WORD[chars]
    return 1.0
