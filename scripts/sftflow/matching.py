"""How an answer is held against its reference: as text, as words, as JSON, as a number.

Each comparison returns what one answer is worth, 0 to 1, or None where the reference has no
such form.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from fractions import Fraction
from typing import Any

from sftflow.prompts import normalized
from sftflow.words import UNSPACED, words

QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
# A mark beside a digit may be part of the number: 3.5 is not 35, -5 not 5, 50% not 50.
MARKS = re.compile(
    rf"(?<!\d)[.,;:!?()\[\]{{}}*_{QUOTES}\u2026\u3001\u3002\u3008-\u3011\u00bf\u00a1]+(?!\d)"
)
FIRST_MARKS, END_MARKS = "*_" + QUOTES, ".,;:!?*_\u3002" + QUOTES
# Control characters other than white space, zero width, byte order and direction marks; joiners
# stay, which Persian and emoji need.
UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
ARTICLES = re.compile(r"\b(?:a|an|the) ")
BETWEEN_UNSPACED = re.compile(rf"(?<=[{UNSPACED}]) (?=[{UNSPACED}])")
# The minus of "3-5" is none; thousands are set apart in threes, so "1,2" are two numbers.
SIGN = r"(?:(?<![\w.)])-)?"
PLAIN = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\w.])\.\d+)(?:[eE][+-]?\d{1,3}\b)?"
# "3/4", "1 1/2"; of a date, "5/1/2024", each part is a number.
FRACTION = r"(?<![\d/.])(?<!\d,)(?:\d{1,9} )?\d{1,9}/0*[1-9]\d{0,8}(?![\d/]|[.,]\d)"
NUMBER = rf"{SIGN}(?:{FRACTION}|{PLAIN})"
NUMBERS = re.compile(NUMBER)
AFTER_HASHES = re.compile(rf"####\s*[^\d.-]{{0,3}}({NUMBER})")
LATEX_FRACTION = re.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")
WRITTEN_OTHERWISE = str.maketrans("\u2212\uff0d\uff0c\uff0e\u2044", "--,./")  # minus, full width
SPACED_THOUSANDS = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")
CURRENCY_AFTER_MINUS = re.compile(r"(?<=-)[$\u20ac\u00a3\u00a5] ?")


def bare(text: str) -> str:
    """Return ``text`` as SQuAD normalizes answers, for any script.

    Case, white space, punctuation and English articles go (Rajpurkar et al., 2016,
    arXiv:1606.05250, section 6.1), and width, composition and what can't be seen too. Marks within
    a number stay, and an article that is all there is ("A" as a choice).
    """
    text = normalized(UNSEEN.sub("", text))
    while True:  # what goes may lay bare another mark: "'a.'"
        less = MARKS.sub("", text).rstrip(END_MARKS + " ").lstrip(FIRST_MARKS + " ")
        less = BETWEEN_UNSPACED.sub("", normalized(ARTICLES.sub("", less)))
        if len(less) == len(text):
            return less
        text = less


def word_overlap(answer: str, reference: str) -> float | None:
    """Return the F1 of the words that both have, as SQuAD's; None if the reference has none.

    Of a script without spaces each letter is a word.
    """
    said, wanted = (Counter(words(bare(text))) for text in (answer, reference))
    if not wanted:
        return None
    shared = (said & wanted).total()
    return 2 * shared / (said.total() + wanted.total())


def parsed_json(text: str) -> Any:
    """Return the value of a text that is JSON (RFC 8259) and nothing else; else raise ValueError.

    Raises ValueError for NaN and Infinity too, which Python's json would take.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_json(text: str) -> bool:
    """Return whether a text is JSON and nothing else."""
    try:
        parsed_json(text)
    except ValueError:
        return False
    return True


def json_object(text: str | None) -> dict[str, Any] | None:
    """Return the object that a text is in JSON, or None."""
    try:
        value = None if text is None else parsed_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def same_json(a: Any, b: Any) -> bool:
    """Return whether two JSON values are equal: 1 is 1.0, but, unlike in Python, true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_json(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_json, a, b))
    return a == b


def right_fields(answer: str, reference: str | None) -> dict[str, float] | None:
    """Return for each field of a JSON object whether the answer has it right, 1 or 0.

    A field that the answer lacks is wrong; fields that only the answer has are not looked at.
    None if the reference is no object or an empty one.
    """
    wanted, given = json_object(reference), json_object(answer) or {}
    if not wanted:
        return None
    return {k: float(k in given and same_json(given[k], v)) for k, v in wanted.items()}


def right_share(answer: str, reference: str) -> float | None:
    """Return the share of the reference's JSON fields that are right; None if it has none."""
    right = right_fields(answer, reference)
    return None if right is None else sum(right.values()) / len(right)


def final_number(text: str) -> Fraction | None:
    r"""Return the number after ``####`` (the form of GSM8K), or else the last number.

    As people write them: 1,234.50, .5, 1.5e3, 3/4, 1 1/2, \frac{3}{4}.
    """
    text = CURRENCY_AFTER_MINUS.sub("", text.translate(WRITTEN_OTHERWISE))
    text = SPACED_THOUSANDS.sub(",", LATEX_FRACTION.sub(r" \1/\2", text))
    found = AFTER_HASHES.findall(text) or NUMBERS.findall(text)
    return _value(found[-1].replace(",", "")) if found else None


def _value(number: str) -> Fraction:
    """Return what a text that matches NUMBER, without commas, is worth."""
    if "/" not in number:
        return Fraction(number)
    whole, _, part = number.lstrip("-").rpartition(" ")
    return (-1) ** number.startswith("-") * (Fraction(part) + int(whole or 0))


def same_number(answer: str, reference: str) -> float | None:
    """Return 1 if the final numbers are equal, else 0; None if the reference has none."""
    wanted = final_number(reference)
    return None if wanted is None else float(final_number(answer) == wanted)
