"""One workflow, or training, at a time per folder, by a lock that no killed process leaves behind.

Snakemake's own lock is a file that survives kill -9 and then stops everybody until somebody
unlocks by hand. This one is an flock(2): the kernel ends it with the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
from pathlib import Path

POLL_S = 0.5
_held: dict[Path, int] = {}


def check_writable(folder: Path | str) -> None:
    """End with a sentence if nothing can be written to ``folder``: Snakemake gives a traceback."""
    if not os.access(folder, os.W_OK | os.X_OK):
        sys.exit(f"{folder} can't be written to; choose another folder with --directory")


def hold_folder(path: Path | str, wait_s: float = 0.0) -> str | None:
    """Hold the lock file ``path`` until this process ends; else return who holds it.

    Who holds it now has ``wait_s`` to end.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not inheritable: a child that outlives this process must not keep the folder.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() < until_s:
                time.sleep(POLL_S)
                continue
            with os.fdopen(handle, encoding="utf-8") as file:
                return file.read().strip() or "an unknown process"
    os.ftruncate(handle, 0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.write(handle, f"pid {os.getpid()} on {socket.gethostname()} since {since}\n".encode())
    _held[path] = handle
    return None


def release_folder(path: Path | str) -> None:
    """Let others hold the lock file ``path`` again, if this process holds it."""
    if (handle := _held.pop(Path(path), None)) is not None:
        os.close(handle)
