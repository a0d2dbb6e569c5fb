"""Strict JSON: what the standard allows and nothing else, with a reason for every refusal.

Python's ``json`` takes duplicate keys, NaN, infinities and halves of surrogate pairs; each of
them changes or breaks the text later on, so a row that has one is refused here.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

from sftflow.plainlines import one_line

MAX_DEPTH = 64
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Refused(Exception):
    """A row that can't be used: a short code and a sentence for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the code (``reason``) and the sentence (``detail``), which may quote the row."""
        super().__init__(detail)
        self.reason, self.detail = reason, one_line(detail)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = Counter(name for name, _ in pairs)
        twice = next(name for name, count in names.items() if count > 1)
        raise Refused("duplicate_key", f"key {twice!r} appears twice")
    return value


def _constant(name: str) -> Any:
    raise Refused("not_finite", f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Refused("not_finite", f"the number {text[:40]} is out of range")
    return value


def _int(text: str) -> int:
    if len(text) > 400:
        raise Refused("long_number", f"a number of {len(text)} digits")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_constant, parse_float=_float, parse_int=_int
)


def decode_at(text: str, start: int) -> tuple[Any, int]:
    """Return the JSON value that begins at ``text[start]`` and the index behind it.

    Raises Refused; its reason is ``truncated`` if the text ends inside the value.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _syntax(error, text, start) from None
    except RecursionError:
        raise Refused("too_deep", f"nested deeper than {MAX_DEPTH}") from None
    raw = text[start:end]
    if raw.count("{") + raw.count("[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise Refused("too_deep", f"nested deeper than {MAX_DEPTH}")
    if SURROGATE.search(raw):
        _refuse_half_pairs(value)
    return value, end


def parse(text: str) -> Any:
    """Return the one JSON value that ``text`` is; raise Refused if it is anything else."""
    start = len(text) - len(text.lstrip(" \t\r\n"))
    value, end = decode_at(text, start)
    rest = text[end:].strip(" \t\r\n")
    if rest:
        raise Refused("invalid_json", f"text after the end of the value: {rest[:30]!r}")
    return value


def _syntax(error: json.JSONDecodeError, text: str, start: int) -> Refused:
    at_end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    column = error.pos - start + 1
    if at_end:
        return Refused("truncated", f"the text ends inside a value ({error.msg.lower()})")
    detail = f"{error.msg} at character {column}"
    if error.msg.startswith("Invalid control character"):
        detail = f"unescaped control character U+{ord(text[error.pos]):04X} at character {column}"
    elif re.match(r"\{\s*'", text[start : start + 20]):
        detail = "single-quoted keys: this is a Python dict, not JSON"
    elif text[error.pos] in "}]" and error.msg.startswith(("Expecting", "Illegal trailing")):
        detail = f"comma before {text[error.pos]!r} or value missing at character {column}"
    elif not (text[error.pos].isascii() and text[error.pos].isprintable()):
        detail += f", which is U+{ord(text[error.pos]):04X}"  # a byte order mark: not to be seen
    return Refused("invalid_json", detail)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth - 1


def _refuse_half_pairs(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise Refused("half_surrogate", f"half of a character ({half})") from None
