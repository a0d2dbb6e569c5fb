"""Seats at a server of many adapters: as many users at once as adapters fit into a batch.

vLLM lets a request wait while the batch is full of other adapters, for as long as those are asked:
with more users than that, one could wait for hours. And a sweep's users, all started at once, would
take more memory than a small machine has.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sftflow.endpoint import read_endpoint

POLL_S = 0.5


def seats_file(path: Path) -> Path:
    """Return the file whose bytes are locked, one for each seat, beside the endpoint's."""
    return path.with_name(f".{path.stem}.seats")


@contextmanager
def seat(path: Path) -> Iterator[int | None]:
    """Hold a seat at the server of ``path``, after waiting until one is free.

    A server of one model has none: yields None. The kernel frees a seat if its holder is killed.
    """
    count = read_endpoint(path).settings.get("lora", {}).get("max_loras")
    if count is None:
        yield None
        return
    fd = os.open(seats_file(path), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while (taken := _take(fd, count)) is None:
            time.sleep(POLL_S)
        yield taken
    finally:
        os.close(fd)


def _take(fd: int, count: int) -> int | None:
    """Lock the first of ``count`` bytes that nobody has locked; return its place or None."""
    for place in range(count):
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            continue
        return place
    return None
