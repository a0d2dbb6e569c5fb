"""Folders of a stage's output: built beside their place, and checked before they are used."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sftflow.manifests import SUMS, sha256_file
from sftflow.stage import StageError

# Of a start model: what a training starts from. All but the chat template, which has had its say
# in the tokens.
START_SUMS = f"START.{SUMS}"


@contextmanager
def built_beside(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``folder`` and put it in its place at the end.

    Nothing of it stays if the block raises; what a killed process left is removed first.
    """
    beside = folder.with_name(f".{folder.name}.part")
    old = folder.with_name(f".{folder.name}.old.part")
    for left in (beside, old):
        shutil.rmtree(left, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        if folder.exists():
            folder.replace(old)
        beside.replace(folder)
    finally:
        for left in (beside, old):
            shutil.rmtree(left, ignore_errors=True)


def make_readable(folder: Path) -> None:
    """Let others read its files: safetensors writes them for their owner alone."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(path.stat().st_mode | 0o044)


def check_payloads(folder: Path, under: str = "", but: str | None = None) -> None:
    """Raise StageError if a file that the folder's SHA256SUMS vouches for is not as it was.

    ``under`` limits the check to names that begin with it; names that end with ``but`` are left
    out.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except OSError:
        raise StageError(f"{folder} has no {SUMS}: it was not finished; make it again") from None
    for line in lines:
        digest, _, name = line.partition("  ")
        if not name.startswith(under) or (but is not None and name.endswith(but)):
            continue
        if not (folder / name).is_file():
            raise StageError(f"{folder / name} is missing; delete {folder} and run again")
        if sha256_file(folder / name) != digest:
            raise StageError(
                f"{folder / name} has changed since it was made; delete {folder} and run again"
            )
