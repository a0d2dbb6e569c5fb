"""One workflow at a time in a folder, or a sentence about why that can't be seen to."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from sftflow.atwork import LOCK, begin_work, if_nobody_works
from sftflow.workfolder import hold_folder, release_folder


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nobody_begins_while_it_is_looked_at():
    with if_nobody_works() as free:
        assert free
        assert hold_folder(LOCK) is not None
    assert hold_folder(LOCK) is None
    with if_nobody_works() as free:
        assert not free
    assert hold_folder(LOCK) is not None  # still the first one's
    release_folder(LOCK)


def test_two_folders_with_the_same_results_are_one(tmp_path, monkeypatch):
    """Each has a .snakemake of its own, so nothing of Snakemake's keeps them apart."""
    for name in ("shared", "one", "two"):
        (tmp_path / name).mkdir()
    for name in ("one", "two"):
        (tmp_path / name / "results").symlink_to(tmp_path / "shared")
    monkeypatch.chdir(tmp_path / "one")
    assert hold_folder(LOCK) is None
    monkeypatch.chdir(tmp_path / "two")
    with pytest.raises(SystemExit, match=f"another run .pid {os.getpid()} on .* is at work"):
        begin_work()
    monkeypatch.chdir(tmp_path / "one")
    release_folder(LOCK)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_no_file_can_be_locked(number, monkeypatch):
    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(SystemExit, match="no file can be locked in"):
        begin_work()
    with if_nobody_works() as free:
        assert not free


def test_what_stands_where_results_should_be():
    Path("results").symlink_to("/nowhere/at/all")
    with pytest.raises(SystemExit, match="results leads to /nowhere/at/all, which is no folder"):
        begin_work()
    Path("results").unlink()
    Path("results").write_text("")
    with pytest.raises(SystemExit, match="results is no folder"):
        begin_work()


def test_a_full_disk(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "ftruncate", full)
    with pytest.raises(SystemExit, match="the disk is full"):
        begin_work()
