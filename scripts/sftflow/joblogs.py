"""What the log of a failed job says about its end: whether the stage itself had a word on it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from sftflow.oomkills import killed_meanwhile

TAIL_BYTES = 1 << 16
BEGAN = b" INFO sftflow: argv: "
# The last word of a library that got no memory, before it ends its process.
NO_MEMORY = (b"std::bad_alloc", b"Cannot allocate memory", b"Memory allocation still failed")
WORDS = (b" ERROR sftflow: ", b"Traceback (most recent call last)", b"error: ")


def cut_off(logs: Iterable[str]) -> str | None:
    """Return a sentence about a stage that was cut off: it began, and its log names no error.

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
        if BEGAN not in head or any(word in tail for word in WORDS):
            continue
        if any(sign in tail for sign in NO_MEMORY):
            return (
                "got no more memory; close other programs, or raise its limit (ulimit -v, mem_mb "
                f"of a cluster's job); see {log}"
            )
        if killed_meanwhile():
            return (
                "was killed, and the kernel has killed for lack of memory meanwhile; close other "
                "programs, or give it more (mem_mb of a cluster's job, the limit of a container); "
                f"see {log} and dmesg"
            )
        return (
            "was killed, for its log ends without an error: by a time limit, by somebody, or "
            f"because the machine was out of memory; see {log} and dmesg"
        )
    return None
