"""A server and its users: nobody waits for ever, and who has finished has finished."""

from __future__ import annotations

from pathlib import Path

import pytest
from snakemake.io import service

from sftflow import previous, servicegroups

OUT = "results/eval/m/scores.json"


class Fake:
    """Something of Snakemake's with these attributes."""

    def __init__(self, **attributes) -> None:
        self.__dict__.update(attributes)


def user(asks_server=True):
    """Return a job that leaves OUT, as Snakemake shows it."""
    one = Fake(output=[OUT], log=[], rule=Fake(name="generate_answers"), wildcards_dict={})
    above = {Fake(output=[service("server.json")]): {"server.json"}} if asks_server else {}
    one.dag = Fake(dependencies={one: above})
    return one


def test_a_server_ends_with_a_group_whose_users_could_not_begin(monkeypatch):
    """The server's file was late: Snakemake fails the group and waits for the server for ever."""
    killed = []

    def fail(executor, group):
        raise OSError("Missing files after 5 seconds: server.json")

    monkeypatch.setattr(servicegroups.Executor, "run_group_job", fail)
    monkeypatch.setattr(servicegroups.shell, "kill", killed.append)
    monkeypatch.setattr(servicegroups.time, "sleep", lambda _: None)
    servicegroups.end_failed_groups()
    group = [Fake(jobid=1), Fake(jobid=2)]
    with pytest.raises(OSError, match="Missing files"):
        servicegroups.Executor.run_group_job(None, group)
    assert set(killed) == {1, 2}


@pytest.fixture
def running(tmp_path, monkeypatch):
    """Let an executor's jobs write OUT, if they do not fail; return the jobs recorded."""
    monkeypatch.chdir(tmp_path)
    Path(OUT).parent.mkdir(parents=True)
    Path(OUT).write_text("former")
    recorded = []

    def cached_or_run(executor, job, succeed, *how):
        if not succeed:
            raise RuntimeError
        Path(OUT).write_text("new")

    monkeypatch.setattr(servicegroups.Executor, "cached_or_run", cached_or_run)
    servicegroups.keep_each_of_a_group(recorded.append)
    previous.set_aside([OUT])
    return recorded


def test_who_has_finished_at_a_server_is_recorded_before_the_others_have(running):
    one = user()
    servicegroups.Executor.cached_or_run(None, one, True)
    assert running == [one] and not previous.FOLDER.exists()
    assert Path(OUT).read_text() == "new"


def test_the_first_one_that_fails_is_named_and_no_other(running, monkeypatch):
    said = []
    monkeypatch.setattr(servicegroups.logger, "error", said.append)
    first, second = user(), user()
    second.dag = first.dag  # the same server
    second.dag.dependencies[second] = first.dag.dependencies[first]
    for one in (first, second):
        with pytest.raises(RuntimeError):
            servicegroups.Executor.cached_or_run(None, one, False)
    assert said == ["generate_answers failed; its server and whoever asks it are ended."]


def test_who_fails_or_asks_no_server_is_left_to_snakemake(running):
    with pytest.raises(RuntimeError):
        servicegroups.Executor.cached_or_run(None, user(), False)
    servicegroups.Executor.cached_or_run(None, user(asks_server=False), True)
    assert running == [] and previous.FOLDER.exists()
