"""Who holds a file's lock, for the one who waits for it."""

from __future__ import annotations

import os
from pathlib import Path


def lock_holders(fd: int) -> list[int]:
    """Return the processes that hold a lock (flock(2) or fcntl(2)) on an open file, sorted.

    Those of another container or machine are not seen.
    """
    inode = os.fstat(fd).st_ino
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    # number: FLOCK ADVISORY WRITE pid major:minor:inode start end; "->" marks one who waits
    rows = [line.split() for line in lines if "->" not in line]
    return sorted({int(r[4]) for r in rows if r[5].endswith(f":{inode}") and int(r[4]) > 0})


def told_holders(fd: int) -> str:
    """Return the holders of a lock in words, and of one that is stopped what to do."""
    told = [_told(pid) for pid in lock_holders(fd) if pid != os.getpid()]
    return ", ".join(told) or "others"


def _told(pid: int) -> str:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return f"pid {pid}"
    script = next((Path(part).stem for part in argv if part.endswith(".py")), None)
    named = f"{script} (pid {pid})" if script else f"pid {pid}"
    return f"{named}, which is stopped (kill -CONT {pid} lets it go on)" if state == "T" else named
