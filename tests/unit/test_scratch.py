"""Folders for temporary files: nobody's are deleted, somebody's stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sftflow.scratch import PREFIX, ScratchFolder, scratch_folder

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Makes a folder with a file in it, says where, and waits; with "heir" a child holds it too.
HOLD = f"""
import subprocess, sys; sys.path.insert(0, {str(SCRIPTS)!r})
from sftflow.scratch import ScratchFolder
folder = ScratchFolder(sys.argv[1])
(folder.path / "file").write_text("x")
held = (folder.lock,) if sys.argv[2] == "heir" else ()
child = subprocess.Popen(["sleep", "60"], pass_fds=held)
print(folder.path, child.pid, flush=True)
child.wait()
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def holder(tmp_path):
    """Start a process that works in a folder; return it, the folder and its child."""
    started = []

    def start(kind="alone"):
        command = [sys.executable, "-c", HOLD, str(tmp_path), kind]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        path, child = process.stdout.readline().split()
        started.append(int(child))
        return process, Path(path), int(child)

    yield start
    for child in started:
        os.kill(child, 9)


@pytest.mark.parametrize("kind", ["alone", "heir"])
def test_the_folder_of_a_killed_process_goes_when_nobody_holds_it(tmp_path, holder, kind):
    process, path, _ = holder(kind)
    with scratch_folder(tmp_path) as other:
        assert other != path and (path / "file").exists()
    process.kill()
    process.wait()
    with scratch_folder(tmp_path):
        assert path.exists() == (kind == "heir")
    assert names(tmp_path) == ([path.name] if kind == "heir" else [])


def test_what_is_not_ours_to_delete_stays(tmp_path):
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(kept)
    (tmp_path / f"{PREFIX}file").write_text("x")
    ScratchFolder(tmp_path).close()
    assert names(tmp_path) == ["elsewhere", f"{PREFIX}file", f"{PREFIX}link"]


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(tmp_path, monkeypatch):

    taken = []

    def swept_first(lock, kind):
        if not taken:
            taken.append(Path(f"/proc/self/fd/{lock}").readlink())
            taken[0].rmdir()

    monkeypatch.setattr("fcntl.flock", swept_first)
    folder = ScratchFolder(tmp_path)
    assert folder.path.is_dir() and folder.path != taken[0]
    folder.close()


def test_a_disk_without_locks_has_folders_all_the_same(tmp_path, monkeypatch):
    def refused(lock, kind):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refused)
    first = ScratchFolder(tmp_path)
    with scratch_folder(tmp_path):
        assert first.path.exists()
    first.close()
    assert names(tmp_path) == []
