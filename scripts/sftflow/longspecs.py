"""Settings on a command line: as they are, or packed where they are longer than one argument.

Linux takes 131,072 bytes as one argument (MAX_ARG_STRLEN), and a shell command is one. What a
report is told of a hundred runs is more; of 200 runs 268,000 characters are packed into 9,000.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

LONGEST = 30_000  # characters
MARK = "zlib:"


def packed(text: str) -> str:
    """Return JSON text as it is, or packed if it is long."""
    if len(text) <= LONGEST:
        return text
    return MARK + base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpacked(text: str) -> Any:
    """Return what JSON text says that may be packed; raise ValueError if it is neither."""
    if text.startswith(MARK):
        try:
            text = zlib.decompress(base64.b64decode(text.removeprefix(MARK))).decode()
        except zlib.error as error:
            raise ValueError(f"what is packed can't be read: {error}") from None
    return json.loads(text)
