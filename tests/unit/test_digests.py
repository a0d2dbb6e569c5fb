"""Digests that are remembered, and when they must not be."""

import hashlib
import os
import time
from types import SimpleNamespace

import pytest

from sftflow.digests import RACY_NS, Digests


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def kept(tmp_path):
    """Return the path of the memory, in a folder that is there."""
    (tmp_path / "results").mkdir()
    return tmp_path / "results/.cache/digests.json"


def old(path, text):
    """Write a file that has not changed for a while."""
    path.write_text(text)
    then = time.time_ns() - 10 * RACY_NS
    os.utime(path, ns=(then, then))
    return path


def test_a_file_is_read_once(tmp_path, kept, monkeypatch):
    path = old(tmp_path / "a", "one")
    first = Digests(kept)
    assert first.file(path) == sha("one")
    first.save()
    monkeypatch.setattr("sftflow.digests.sha256_file", lambda _: "read again")
    assert Digests(kept).file(path) == sha("one")


def test_a_touched_file_is_read_again_and_is_the_same(tmp_path, kept):
    digests, path = Digests(kept), old(tmp_path / "a", "one")
    digests.file(path)
    os.utime(path)
    assert digests.file(path) == sha("one")


def test_a_change_is_seen(tmp_path, kept):
    digests, path = Digests(kept), old(tmp_path / "a", "one")
    digests.file(path)
    path.write_text("two")
    assert digests.file(path) == sha("two")


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path, kept):
    digests, path = Digests(kept), tmp_path / "a"
    path.write_text("one")
    stamp = path.stat().st_mtime_ns
    digests.file(path)
    path.write_text("two")
    os.utime(path, ns=(stamp, stamp))  # same size, same time stamp
    assert digests.file(path) == sha("two")


def test_a_change_is_seen_whose_time_stamp_was_set_back(tmp_path, kept):
    """As by `cp -p` or an archive: same size, same time stamp, and long enough ago."""
    digests, path = Digests(kept), old(tmp_path / "a", "one")
    stamp = path.stat().st_mtime_ns
    assert digests.file(path) == sha("one")
    time.sleep(0.02)  # what the kernel's clock counts in
    path.write_text("two")
    os.utime(path, ns=(stamp, stamp))
    assert digests.file(path) == sha("two")


def remembered(kept, path, mtime_ns, ctime_ns, now_ns):
    """Return whether a file with these stamps, read at this time, is remembered."""
    digests = Digests(kept.with_name("none.json"))
    stat = SimpleNamespace(st_size=1, st_mtime_ns=mtime_ns, st_ctime_ns=ctime_ns)
    digests._remember(str(path), stat, "digest", now_ns)
    return bool(digests._known)


def test_on_a_drive_that_counts_seconds_a_second_change_is_waited_for(tmp_path, kept):
    path, second = old(tmp_path / "a", "one"), 10**9
    assert not remembered(kept, path, 50 * second, 50 * second, 51 * second)
    assert remembered(kept, path, 50 * second, 50 * second, 53 * second)
    assert remembered(kept, path, 50 * second + 1, 50 * second + 1, 51 * second)
    assert remembered(kept, path, 40 * second, 50 * second + 1, 50 * second + 2)  # from an archive


def test_a_time_in_the_future_that_was_set_costs_no_second_reading(tmp_path, kept, monkeypatch):
    path = old(tmp_path / "a", "one")
    later = time.time_ns() + 10**12
    os.utime(path, ns=(later, later))
    first = Digests(kept)
    assert first.file(path) == sha("one")
    first.save()
    monkeypatch.setattr("sftflow.digests.sha256_file", lambda _: "read again")
    assert Digests(kept).file(path) == sha("one")
    # What a drive with a clock of its own has just written may be written again.
    assert not remembered(kept, path, later, later, time.time_ns())


def test_what_is_missing_has_no_digest(tmp_path, kept):
    digests = Digests(kept)
    assert digests.file(tmp_path / "none") is None
    assert digests.content(tmp_path / "none") is None


def test_a_folder_is_its_names_and_bytes(tmp_path, kept):
    digests, folder = Digests(kept), tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    (folder / "b/x").write_text("1")
    before = digests.content(folder)
    (folder / ".hidden").write_text("2")
    assert digests.content(folder) == before
    (folder / "b/x").rename(folder / "b/y")
    assert digests.content(folder) != before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": ["x", "y", "z"]}'])
def test_a_damaged_memory_is_an_empty_one(tmp_path, kept, text):
    kept.parent.mkdir()
    kept.write_text(text)
    assert Digests(kept).file(old(tmp_path / "a", "one")) == sha("one")


def test_nothing_is_kept_where_there_are_no_results(tmp_path):
    digests = Digests(tmp_path / "results/.cache/digests.json")
    digests.file(old(tmp_path / "a", "one"))
    digests.save()
    assert not (tmp_path / "results").exists()


def test_digests_are_kept_from_another_folder(tmp_path, monkeypatch):
    """With --directory, Snakemake is back in the folder it was called in when all is done."""
    work = tmp_path / "work"
    (work / "results").mkdir(parents=True)
    (work / "a.txt").write_text("a")
    os.utime(work / "a.txt", (1, 1))
    monkeypatch.chdir(work)
    digests = Digests("results/.cache/digests.json")
    digests.file("a.txt")
    monkeypatch.chdir(tmp_path)
    digests.save()
    assert "a.txt" in (work / "results/.cache/digests.json").read_text()
