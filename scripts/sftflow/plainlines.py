"""Text that came with data, as a terminal may show it: it can't steer it nor begin a new line."""

from __future__ import annotations

import re

# Control characters but the tab, the other two line ends, marks that turn the way of writing.
STEERING = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """Return ``text`` with what would steer a terminal as its escape, a line end as well."""
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
