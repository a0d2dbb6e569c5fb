"""Folders for temporary files, of which a killed process leaves none for long.

Whoever works in such a folder holds its lock (flock(2)), which the kernel drops with the last
holder, however that ended. Whoever makes one first deletes those of its user that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "sftflow-tmp-"


class ScratchFolder:
    """A folder of its own under ``root`` (default: TMPDIR), until ``close``."""

    def __init__(self, root: Path | str | None = None) -> None:
        """Delete what killed processes left in ``root``, and make the folder.

        ``lock`` may be inherited by another process, which then holds the folder too.
        """
        root = Path(root or tempfile.gettempdir())
        _sweep(root)
        self.path, self.lock = _locked_folder(root)

    def close(self) -> None:
        """Delete the folder and let its lock go."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


@contextmanager
def scratch_folder(root: Path | str | None = None) -> Iterator[Path]:
    """Yield a folder for temporary files that is gone afterwards."""
    folder = ScratchFolder(root)
    try:
        yield folder.path
    finally:
        folder.close()


def _locked_folder(root: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        try:
            lock = _open(path)
        except FileNotFoundError:  # swept before it was opened
            continue
        with suppress(OSError):  # a disk without locks: nobody can lock and sweep it either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path, lock
        os.close(lock)  # swept before it was locked


def _sweep(root: Path) -> None:
    """Delete the folders of this user that nobody holds any more."""
    for path in root.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, gone in the meantime, or held
            lock = _open(path)
            try:
                if os.fstat(lock).st_uid == os.getuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
