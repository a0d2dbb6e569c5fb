"""Checkpoints of a training: which can be trusted, and for which training.

A checkpoint counts only once ``COMPLETE.json`` lies in it, written last, with the digest of
every other file. The folder above is named by a fingerprint of all that shapes the training,
so a training with other data or settings never continues from it.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sftflow.manifests import sha256_file, sha256_json, write_json
from sftflow.stage import StageError
from sftflow.workfolder import hold_folder, release_folder

logger = logging.getLogger("sftflow")

SEAL = "COMPLETE.json"
ENDING_S = 60.0
PICKLED_ARGUMENTS = "training_args.bin"  # a pickle that nothing here reads


def fingerprint(**parts: object) -> str:
    """Return 16 hex digits of everything that shapes a training (JSON values)."""
    return sha256_json(parts)[:16]


def step_of(checkpoint: Path) -> int:
    """Return N of a folder ``checkpoint-N``, or -1."""
    found = re.fullmatch(r"checkpoint-(\d+)", checkpoint.name)
    return int(found.group(1)) if found else -1


def _files(checkpoint: Path) -> Iterator[Path]:
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != SEAL:
            yield path


def seal(checkpoint: Path) -> None:
    """Vouch for a checkpoint that is wholly written."""
    (checkpoint / PICKLED_ARGUMENTS).unlink(missing_ok=True)
    digests = {p.relative_to(checkpoint).as_posix(): sha256_file(p) for p in _files(checkpoint)}
    write_json(checkpoint / SEAL, {"files": digests})


def fault(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint, or return None."""
    try:
        files = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return "it was not finished"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"its {SEAL} can't be read"
    if not isinstance(files, dict) or not files:
        return "it holds no files"
    for name, digest in files.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256_file(path) != digest:
            return f"{name} has changed since it was written"
    return None


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoint folders in ``folder``, newest first."""
    return sorted((p for p in folder.glob("checkpoint-*") if step_of(p) >= 0), key=step_of)[::-1]


def newest_valid(folder: Path, last_step: int) -> tuple[Path | None, list[str]]:
    """Return the newest checkpoint that can be trusted and a sentence for each that can't.

    Those that can't are removed, so that no library picks one up. Checkpoints of steps after
    ``last_step`` are left alone.
    """
    notes, newest = [], None
    for checkpoint in checkpoints(folder):
        if step_of(checkpoint) > last_step:
            continue
        wrong = fault(checkpoint)
        if wrong is None:
            newest = newest or checkpoint
            continue
        notes.append(f"{checkpoint.name} is not used: {wrong}")
        shutil.rmtree(checkpoint)
    return newest, notes


def prune(folder: Path, best_step: int | None) -> None:
    """Remove all sealed checkpoints but the newest and the best one."""
    found = [c for c in checkpoints(folder) if (c / SEAL).is_file()]
    for checkpoint in found[1:]:
        if step_of(checkpoint) != best_step:
            shutil.rmtree(checkpoint, ignore_errors=True)


def remove_others(folder: Path, kept: str) -> list[str]:
    """Remove every folder of another fingerprint; return their names."""
    if not folder.is_dir():
        return []
    stale = [p for p in sorted(folder.iterdir()) if p.is_dir() and p.name != kept]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in stale]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other trainings of the same run away: a job of a cluster may outlive its workflow.

    One that was told to end has a minute for it. Raises StageError if it takes longer.
    """
    lock = folder.with_name(".training.lock")
    holder = hold_folder(lock, wait_s=ENDING_S)
    if holder:
        raise StageError(
            f"another training of this run ({holder}) writes to {folder}; wait for it or end it"
        )
    try:
        yield
    finally:
        release_folder(lock)
