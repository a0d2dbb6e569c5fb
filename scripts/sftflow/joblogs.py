"""What the log of a failed job says about its end: whether the stage itself had a word on it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

TAIL_BYTES = 1 << 16
BEGAN = b" INFO sftflow: argv: "
WORDS = (b" ERROR sftflow: ", b"Traceback (most recent call last)", b"error: ")


def ended_without_a_word(logs: Iterable[str]) -> str | None:
    """Return the log of a stage that was cut off: it began, and it names no error.

    So ends what is killed (SIGKILL), by the kernel for lack of memory more often than not.
    """
    for log in logs:
        try:
            with Path(log).open("rb") as file:
                head = file.read(TAIL_BYTES)
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                tail = file.read()
        except OSError:
            continue
        if BEGAN in head and not any(word in tail for word in WORDS):
            return log
    return None
