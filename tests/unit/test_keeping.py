"""A failed job costs no finished result, whichever process started its command."""

from __future__ import annotations

import asyncio
import errno
import logging
from pathlib import Path

import pytest
from snakemake.io import service

from sftflow import keeping, previous
from sftflow.atwork import LOCK
from sftflow.digests import Digests
from sftflow.provenance import Basis, write_record
from sftflow.workfolder import hold_folder, release_folder

OUT = "results/eval/m/latency.json"
BASIS = Basis("measure", {}, {})


class Outcome:
    """What Snakemake was told about a job, and what was recorded."""

    def __init__(self) -> None:
        self.errors, self.recorded, self.begun = [], [], []
        self.record, self.begin = self.recorded.append, self.begun.append


@pytest.fixture
def outcome(tmp_path, monkeypatch):
    """Let Snakemake's own methods do what they do to files: delete them."""
    monkeypatch.chdir(tmp_path)
    Path(OUT).parent.mkdir(parents=True)
    found = Outcome()

    async def remove(job):
        Path(OUT).unlink(missing_ok=True)

    async def postprocess(job, error=False, **_):
        found.errors.append(error)
        if error:
            Path(OUT).unlink(missing_ok=True)

    monkeypatch.setattr(keeping.Job, "remove_existing_output", remove)
    monkeypatch.setattr(keeping.Job, "postprocess", postprocess)
    for name in ("_io_write", "_filter_incomplete_keys"):
        monkeypatch.setattr(keeping.FilePersistence, name, getattr(keeping.FilePersistence, name))
    keeping.keep_results(Digests("results/.cache/digests.json"), found)
    return found


class Fake:
    """Something of Snakemake's with these attributes."""

    def __init__(self, **attributes) -> None:
        self.__dict__.update(attributes)


def job(cluster: bool, asks_server: bool = False):
    """Return a job as Snakemake shows it, which may run on a cluster and wait for a server."""
    one = Fake(
        output=[OUT],
        log=[],
        is_local=not cluster,
        rule=Fake(name="measure_latency"),
        wildcards_dict={"model": "m"},
    )
    above = {Fake(output=[service("server.json")]): {"server.json"}} if asks_server else {}
    one.dag = Fake(workflow=Fake(non_local_exec=cluster), dependencies={one: above})
    return one


def fail(one):
    asyncio.run(keeping.Job.postprocess(one, error=True))


def finished_once(text="old"):
    Path(OUT).write_text(text)
    write_record("measure_latency", {"model": "m"}, BASIS, [OUT], Digests("results/d.json"))


@pytest.mark.parametrize("asks_server", [True, False])
def test_a_job_that_never_began_on_a_cluster_loses_nothing(outcome, asks_server):
    finished_once()
    fail(job(cluster=True, asks_server=asks_server))
    assert Path(OUT).read_text() == "old"
    assert not outcome.recorded  # it is the former result: still stale


def test_what_the_inner_process_put_back_stays(outcome):
    finished_once()
    asyncio.run(keeping.Job.remove_existing_output(job(cluster=False)))
    Path(OUT).write_text("half")
    fail(job(cluster=False))
    fail(job(cluster=True))
    assert Path(OUT).read_text() == "old" and outcome.errors == [True, False]


def test_a_killed_inner_process_leaves_it_to_the_outer_one(outcome):
    finished_once()
    asyncio.run(keeping.Job.remove_existing_output(job(cluster=False)))
    Path(OUT).write_text("half")
    fail(job(cluster=True))
    assert Path(OUT).read_text() == "old"
    assert not previous.FOLDER.exists()


def test_a_first_failure_leaves_nothing(outcome):
    Path(OUT).write_text("half")
    fail(job(cluster=True))
    assert not Path(OUT).exists()


def test_what_had_finished_at_a_server_is_kept_and_recorded(outcome):
    finished_once()
    Path(OUT).write_text("new")
    fail(job(cluster=True, asks_server=True))
    assert Path(OUT).read_text() == "new" and len(outcome.recorded) == 1


def test_a_time_stamp_of_an_input_fails_no_job(outcome, monkeypatch):
    """Snakemake deletes a result that looks older than its input: a clock was set back."""
    given = []

    async def postprocess(job, check_output_mtime=True, **_):
        given.append(check_output_mtime)

    monkeypatch.setattr(keeping.Job, "postprocess", postprocess)
    keeping.keep_results(Digests("results/.cache/digests.json"))
    asyncio.run(keeping.Job.postprocess(job(cluster=False)))
    assert given == [False]


def test_a_disk_that_takes_no_notes_of_snakemake_fails_no_job(tmp_path, monkeypatch):
    notes = Fake(path=tmp_path, _record_path=lambda subject, name: Path(subject, name))

    def half(_notes, subject, value, name, *mode):
        Path(subject, name).write_text("{")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keeping.FilePersistence, "_io_write", half)
    filtered = keeping.FilePersistence._filter_incomplete_keys
    monkeypatch.setattr(keeping.FilePersistence, "_filter_incomplete_keys", filtered)
    keeping.spare_notes()
    for name in "ab":
        keeping.FilePersistence._io_write(notes, str(tmp_path), {}, name)
    assert list(tmp_path.iterdir()) == []


def test_a_log_of_snakemake_that_the_disk_does_not_take_is_told_once(monkeypatch, capsys):
    monkeypatch.setattr(logging.FileHandler, "handleError", logging.Handler.handleError)
    keeping.spare_log()
    log = logging.getLogger("test_keeping")
    log.propagate = False
    handler = logging.FileHandler("/dev/full")
    log.addHandler(handler)
    log.warning("first")
    log.warning("second")
    assert capsys.readouterr().err == (
        "Snakemake can't write its log full (No space left on device): what it says is here, and "
        "not there.\n"
    )
    log.warning("%d", "no number")  # another fault than the disk's
    assert "Traceback" in capsys.readouterr().err
    log.removeHandler(handler)


def test_a_record_that_the_disk_does_not_take_is_a_sentence(outcome):
    def full(_job):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(keeping.WorkflowError, match="measure_latency m has ended, but"):
        keeping.recorded(full, job(cluster=False))


def test_the_former_result_of_a_workflow_that_was_killed_is_put_back(outcome):
    finished_once()
    one = job(cluster=False)
    asyncio.run(keeping.Job.remove_existing_output(one))
    Path(OUT).write_text("of a workflow that was killed")
    assert hold_folder(LOCK) is None  # another one is at work, or this one: it puts back itself
    keeping.restore_former([one])
    assert Path(OUT).read_text() != "old"
    release_folder(LOCK)
    keeping.restore_former([one])
    assert Path(OUT).read_text() == "old" and not previous.FOLDER.exists()
    assert keeping.is_former(one, Digests("results/d.json"))
