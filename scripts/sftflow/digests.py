"""SHA-256 of files, remembered by size and time stamps, so that a look at everything is cheap.

A file is read again when its size or a time stamp differs from what is remembered, so a touched
file or a fresh copy costs one reading and a file in its old state costs one stat(2). Of the time
stamps one is the kernel's own (st_ctime): `cp -p`, `touch -d` and archives can set the other.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from stat import S_ISREG

from sftflow.manifests import sha256_file, sha256_json, write_text

# A file that changed this short a time before it was read may change again within the
# granularity of its time stamp: its digest is not remembered (the "racy git" problem). Some
# network drives know whole seconds only, or two (FAT).
RACY_NS, RACY_BY_SECONDS_NS = 100_000_000, 2_000_000_000
SECOND_NS = 1_000_000_000


class Digests:
    """Digests of files by path; ``save`` keeps them for the next process."""

    def __init__(self, path: Path | str) -> None:
        """Remember what the JSON file ``path`` holds; start empty if it is not one of ours."""
        # Snakemake leaves the folder of --directory before it ends, and `save` comes after that.
        self._home = Path.cwd()
        self._path = self._home / path
        self._known: dict[str, list] = {}
        self._changed = False
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
            self._known = {p: [*map(int, s), str(d)] for p, (*s, d) in known.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            pass

    def file(self, path: Path | str) -> str | None:
        """Return the hex digest of a file; None if there is none or it can't be read.

        A pipe or a device is none: to read it could take for ever.
        """
        path = str(path)
        try:
            stat = Path(path).stat()
            if not S_ISREG(stat.st_mode):
                return None
            known = self._known.get(path)
            if known and known[:-1] == stamps(stat):
                return known[-1]
            now_ns = time.time_ns()
            digest = sha256_file(path)
        except OSError:
            return None
        self._remember(path, stat, digest, now_ns)
        return digest

    def vouch(self, path: Path | str, digest: str) -> None:
        """Remember a digest that whoever wrote the file has just computed; not of a missing one."""
        if Path(path).exists():
            self._remember(str(path), Path(path).stat(), digest, time.time_ns())

    def content(self, path: Path | str) -> str | None:
        """Return a digest of a file, or of a folder's files (names and bytes); None if missing."""
        if not Path(path).is_dir():
            return self.file(path)
        return sha256_json([[name, self.file(Path(path, name))] for name in files_under(path)])

    def _remember(self, path: str, stat: os.stat_result, digest: str, now_ns: int) -> None:
        if is_settled(stat, now_ns):
            self._known[path] = [*stamps(stat), digest]
            self._changed = True

    def save(self) -> None:
        """Keep what is remembered of files that are still there; say nothing if it can't be."""
        if not self._changed or not self._path.parent.parent.is_dir():
            return
        known = {p: entry for p, entry in self._known.items() if (self._home / p).exists()}
        try:
            write_text(self._path, json.dumps(known, separators=(",", ":")))
        except OSError:  # a memory only: without it, files are read again
            return
        self._changed = False


def stamps(stat: os.stat_result) -> list[int]:
    """Return what differs of a file as soon as anybody has written to it."""
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def is_settled(stat: os.stat_result, now_ns: int) -> bool:
    """Return whether a change after ``now_ns``, when a file was read, would show in its stamps.

    A time in the future that is the kernel's own too is that of another clock, as of a network
    drive; one that is not was set, as by a copy from a machine whose clock is ahead.
    """
    times = (stat.st_mtime_ns, stat.st_ctime_ns)
    if stat.st_mtime_ns > now_ns and times[0] != times[1]:
        return True
    by_seconds = all(time_ns % SECOND_NS == 0 for time_ns in times)
    return now_ns - stat.st_mtime_ns > (RACY_BY_SECONDS_NS if by_seconds else RACY_NS)


def files_under(folder: Path | str) -> list[str]:
    """Return the names of all files below a folder, relative to it, sorted; not hidden ones."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.relpath(Path(place, name), folder) for name in files if not name.startswith(".")
        ]
    return sorted(found)
