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
from sftflow.lockholders import told_holders
from sftflow.stage import console

POLL_S = 0.5
SAY_EVERY_S = 10.0


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
        start_s = said_s = time.monotonic()
        while (taken := _take(fd, count)) is None:
            now_s = time.monotonic()
            if now_s - said_s > SAY_EVERY_S:
                said_s, waited = now_s, f"{now_s - start_s:.0f} s"
                console().say(f"waiting for a seat, taken by {told_holders(fd)}: {waited}")
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
