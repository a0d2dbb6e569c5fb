"""Text that looks wrong without being unusable: noticed and counted, never changed here."""

from __future__ import annotations

import re
from collections.abc import Iterable

# UTF-8 read as cp1252 or Latin-1: the lead byte of a two- or three-byte character and what follows.
_TAIL = "[\u0080-\u00bf\u0152-\u0178\u20ac\u2122]"  # a continuation byte, as it then reads
_MOJIBAKE = f"[\u00c2-\u00c5]{_TAIL}|\u00e2\u20ac.|[\u00e2-\u00e9]{_TAIL}{{2}}"
# By code: a pattern, and the characters without any of which it can't be found ("": none such;
# None: it is not found in ASCII).
SUSPECTS = {
    "mojibake": (re.compile(_MOJIBAKE), None),
    "replacement_character": (re.compile("\ufffd"), None),
    "invisible_characters": (re.compile("[\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]"), None),
    "control_characters": (re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"), ""),
    "placeholder": (re.compile(r"\{\{[ \w.-]{1,60}\}\}"), "{"),
    "html": (
        re.compile(
            r"</?(?:p|br|div|span|b|i|a|ul|li|table|tr|td|strong|em|font|img)\b[^<>]{0,200}>|"
            r"&(?:nbsp|amp|lt|gt|quot|#\d{1,6});",
            re.IGNORECASE,
        ),
        "<&",
    ),
    "control_token": (
        re.compile(
            r"<\|[\w-]{1,40}\|>|\[/?INST\]|</?s>|<<SYS>>|<(?:start|end)_of_turn>|"
            r"<(?:bos|eos|pad)>"
        ),
        "<[",
    ),
}


def suspicions(texts: Iterable[str]) -> list[str]:
    """Return the codes of what looks wrong in any of ``texts``."""
    whole = "\n".join(texts)
    ascii_only = whole.isascii()
    return [
        code
        for code, (pattern, signs) in SUSPECTS.items()
        if (not ascii_only if signs is None else not signs or any(s in whole for s in signs))
        and pattern.search(whole)
    ]
