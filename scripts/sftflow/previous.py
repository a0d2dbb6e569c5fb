"""A job's former result, kept aside until the new one is whole.

Snakemake deletes what a job left before before it starts the job again: a failed rerun would
take a finished result with it. Here the files are moved to ``results/.previous/`` instead, and
back if the job fails. What a killed run left there is the former result still; it goes when the
job has succeeded.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from glob import escape
from pathlib import Path

FOLDER = Path("results/.previous")


def _place(path: Path) -> Path:
    return FOLDER / path


def set_aside(outputs: Iterable[str]) -> None:
    """Move what a job left out of its way; what a killed job left in its place is deleted."""
    for path in map(Path, outputs):
        held = _place(path)
        if not path.exists():
            continue
        if held.exists():
            _remove(path)
            continue
        held.parent.mkdir(parents=True, exist_ok=True)
        path.rename(held)


def remove_unfinished(outputs: Iterable[str]) -> None:
    """Delete what a killed job had written beside its outputs, under names of its own process.

    Each output has one job, and one workflow at a time has the folder: nobody else writes there.
    """
    for path in map(Path, outputs):
        for part in path.parent.glob(f".{escape(path.name)}.*part"):
            _remove(part)


def put_back(outputs: Iterable[str]) -> list[str]:
    """Move a former result to where it was, after its job failed; return the paths."""
    back = []
    for path in map(Path, outputs):
        if not _place(path).exists():
            continue
        _remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _place(path).rename(path)
        back.append(str(path))
    _forget_empty_folders(back)
    return back


def drop(outputs: Iterable[str]) -> None:
    """Delete a former result: there is a new one."""
    gone = [path for path in outputs if _place(Path(path)).exists()]
    for path in gone:
        _remove(_place(Path(path)))
    _forget_empty_folders(gone)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _forget_empty_folders(paths: Iterable[str]) -> None:
    for path in paths:
        for folder in _place(Path(path)).parents:
            if folder == FOLDER.parent or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
