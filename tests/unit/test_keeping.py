"""A failed job costs no finished result, whichever process started its command."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from snakemake.io import service

from sftflow import keeping, previous
from sftflow.digests import Digests
from sftflow.provenance import Basis, write_record

OUT = "results/eval/m/latency.json"
BASIS = Basis("measure", {}, {})


class Outcome:
    """What Snakemake was told about a job, and what was recorded."""

    def __init__(self) -> None:
        self.errors, self.recorded = [], []


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
    keeping.keep_results(Digests("results/.cache/digests.json"), found.recorded.append)
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
