"""A former result is aside while a new one is made: none is lost, and none is left over."""

from __future__ import annotations

import pytest

from sftflow import previous


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/runs/a/adapter").mkdir(parents=True)
    (tmp_path / "results/runs/a/adapter/weights").write_text("old")
    (tmp_path / "results/runs/a/history.csv").write_text("old")
    return tmp_path


OUTPUTS = ["results/runs/a/adapter", "results/runs/a/history.csv"]


def files(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_failure_changes_nothing(folder):
    before = files(folder)
    previous.set_aside(OUTPUTS)
    assert not any((folder / path).exists() for path in OUTPUTS)
    (folder / "results/runs/a/adapter").mkdir(parents=True)
    (folder / "results/runs/a/adapter/half").write_text("new")
    assert previous.put_back(OUTPUTS) == OUTPUTS
    assert files(folder) == before
    assert not (folder / previous.FOLDER).exists()


def test_a_success_leaves_only_the_new(folder):
    previous.set_aside(OUTPUTS)
    (folder / OUTPUTS[1]).write_text("new")
    previous.drop(OUTPUTS)
    assert files(folder) == {OUTPUTS[1]: "new"}
    assert not (folder / previous.FOLDER).exists()


def test_what_a_killed_run_left_is_not_taken_for_the_former_result(folder):
    before = files(folder)
    previous.set_aside(OUTPUTS)
    (folder / OUTPUTS[1]).write_text("half of the new")  # and then the machine went down
    previous.set_aside(OUTPUTS)
    assert not (folder / OUTPUTS[1]).exists()
    previous.put_back(OUTPUTS)
    assert files(folder) == before


def test_without_a_former_result_nothing_happens(folder):
    previous.set_aside(["results/never"])
    assert previous.put_back(["results/never"]) == []
    previous.drop(["results/never"])
    assert not (folder / previous.FOLDER).exists()


def test_others_stay_aside(folder):
    previous.set_aside(OUTPUTS)
    previous.drop(OUTPUTS[:1])
    assert previous.put_back(OUTPUTS) == OUTPUTS[1:]


def test_what_a_killed_job_had_begun_to_write_goes_when_the_job_starts_again(folder):
    before = files(folder)
    runs = folder / "results/runs/a"
    (runs / ".history.csv.4711.part").write_text("half")
    (runs / ".adapter.part").mkdir()
    (runs / ".adapter.part/half").write_text("half")
    (runs / ".history[1].csv.4711.part").write_text("another file's")
    previous.remove_unfinished(OUTPUTS)
    (runs / ".history[1].csv.4711.part").unlink()  # that was left alone
    assert files(folder) == before
