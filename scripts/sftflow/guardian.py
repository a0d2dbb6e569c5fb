"""Outlive the supervisor of a server, and then end the server: run as a program of its own.

A supervisor that gets SIGKILL can end nothing, and vLLM's API server, engine and workers would
stay behind under init. This process holds the read end of a pipe whose other end only the
supervisor has, so end-of-file means that the supervisor is gone, however it went.

usage   guardian.py FD FOLDER   (python -I -S: standard library only, starts in some 20 ms)
reads   lines from FD: ``+PID`` a process group to end at end-of-file, ``-PID`` it ended in order
removes FOLDER, the server's private folder for temporary files, at the end
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

GRACE_S = 8.0  # vLLM takes 0.1-2 s to end by itself, and for ever with a request in flight
POLL_S = 0.1


def group_members(group: int) -> list[int]:
    """Return the processes of a group that still run (zombies don't)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (comm) state ppid pgrp ...; comm may hold spaces and parentheses
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # ended between the listing and the reading
            continue
        if fields[0] not in "ZX" and int(fields[2]) == group:
            found.append(int(stat.parent.name))
    return found


def shared_memory(pids: list[int]) -> set[str]:
    """Return the files in /dev/shm that processes map: SIGKILL would leave them there."""
    found = set()
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        except OSError:
            continue
        found |= {
            line.split()[5] for line in lines if " /dev/shm/" in line and len(line.split()) == 6
        }
    return found


def end_group(group: int, grace_s: float = GRACE_S) -> bool:
    """Send SIGTERM to a process group, after ``grace_s`` SIGKILL; return if it is gone."""
    left_behind: set[str] = set()
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, grace_s)):
        members = group_members(group)
        left_behind |= shared_memory(members)
        if members:
            with suppress(ProcessLookupError):
                os.killpg(group, number)
                os.killpg(group, signal.SIGCONT)  # who is stopped heeds SIGKILL only
        until_s = time.monotonic() + wait_s
        while group_members(group) and time.monotonic() < until_s:
            time.sleep(POLL_S)
    if group_members(group):
        return False
    for name in left_behind:
        Path(name).unlink(missing_ok=True)
    return True


def groups_until_eof(fd: int) -> list[int]:
    """Block until the pipe's last writer is gone; return the groups that were not ended."""
    groups: list[int] = []
    with os.fdopen(fd) as pipe:
        for line in pipe:
            group = int(line[1:])
            if line[0] == "+":
                groups.append(group)
            elif group in groups:
                groups.remove(group)
    return groups


def main(argv: list[str]) -> None:
    """Wait for the supervisor's end, then leave nothing of its server."""
    # A batch system signals every process of a job: what counts here is the pipe alone.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in groups_until_eof(int(argv[1])):
        end_group(group)
    shutil.rmtree(argv[2], ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv)
