"""Who is at work in a work folder: one workflow at a time.

Only the process that plans asks; what a stage needs of locks is in workfolder.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sftflow.machinefaults import machine_fault
from sftflow.workfolder import hold_folder, release_folder

LOCK = Path("results/.lock")


def begin_work() -> None:
    """Hold the work folder until this process ends; end it with a sentence if it can't be had."""
    here = Path.cwd()
    try:
        holder = hold_folder(LOCK)
    except OSError as error:
        sys.exit(machine_fault(error) or no_lock(error))
    if holder:
        sys.exit(
            f"another run ({holder}) is at work in {here}; "
            "wait for it or use --directory for a folder of your own"
        )


def no_lock(error: OSError) -> str:
    """Return what to do where no file can be made or locked."""
    results = LOCK.parent
    if results.is_symlink() and not results.is_dir():
        return (
            f"results leads to {results.readlink()}, which is no folder; make it or mount its "
            "disk, or remove the link"
        )
    if results.exists() and not results.is_dir():
        return f"{results.absolute()} is no folder; rename it or use --directory"
    return (
        f"no file can be locked in {results.absolute()} ({error.strerror}), so two runs could not "
        "be kept apart; mount it with flock (Lustre: -o flock; NFS: version 4) or use --directory"
    )


@contextmanager
def if_nobody_works() -> Iterator[bool]:
    """Yield whether nobody is at work here; if so nobody begins before the block ends."""
    try:
        free = hold_folder(LOCK) is None
    except OSError:
        free = False
    try:
        yield free
    finally:
        if free:
            release_folder(LOCK)
