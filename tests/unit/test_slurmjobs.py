"""What the executor for Slurm would lose becomes a job's failure, or is asked about again."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from types import SimpleNamespace

import pytest
import snakemake_executor_plugin_slurm as plugin
import snakemake_executor_plugin_slurm_jobstep as step

from sftflow import slurmjobs, slurmnotes, slurmsubmission
from sftflow.slurmjobs import Answers, accounting, asking, looking, telling


class Executor:
    """As much of an executor as is used: it keeps what it is told."""

    def __init__(self):
        self.errors, self.succeeded = [], []

    def report_job_success(self, info):
        self.succeeded.append(info.external_jobid)

    def report_job_error(self, info, msg, **_):
        self.errors.append((info.external_jobid, msg))


def submitted(number):
    return SimpleNamespace(external_jobid=number, aux={"slurm_logfile": None})


@pytest.fixture
def polls(monkeypatch, tmp_path):
    """Return a function that looks at jobs while Slurm answers this, through the real executor."""
    monkeypatch.chdir(tmp_path)
    answers, executor = Answers(), Executor()
    executor.logger = logging.getLogger("polls")
    executor.run_uuid = "run"
    executor.status_rate_limiter = asyncio.Semaphore(9)
    settings = SimpleNamespace(
        init_seconds_before_status_checks=15, status_attempts=5, status_command="squeue"
    )
    executor.workflow = SimpleNamespace(executor_settings=settings)
    settings.requeue, executor._preemption_warning, executor._failed_nodes = True, False, set()
    settings.keep_successful_logs = False
    executor.get_status_command = lambda: "squeue"
    executor._status_query_calls = executor._status_query_failures = 0
    executor._status_query_total_seconds = executor._status_query_max_seconds = 0.0
    executor._status_query_min_seconds = None
    executor._status_query_cycle_rows = []
    executor.next_seconds_between_status_checks = 15
    monkeypatch.setattr(plugin, "get_min_job_age", lambda: 300)

    def look(jobs, answer):
        async def query(_command, _logger):
            return answer, None if answer is None else 0.1

        monkeypatch.setattr(plugin, "query_job_status", asking(query, answers))
        check = looking(plugin.Executor.check_active_jobs, answers)

        async def collected():
            return [job async for job in check(executor, jobs)]

        return asyncio.run(collected()), executor.errors

    return look


def test_jobs_are_kept_while_slurm_does_not_answer(polls):
    job = submitted("7")
    for _ in range(2 * slurmjobs.UNKNOWN_TIMES):
        assert polls([job], None) == ([job], [])


def test_a_job_that_slurm_has_forgotten_is_given_up_in_the_end(polls):
    job = submitted("7")
    for _ in range(slurmjobs.UNKNOWN_TIMES - 1):
        assert polls([job], {"8": "RUNNING"}) == ([job], [])
    assert polls([job], {"7": "RUNNING"}) == ([job], [])  # it was only late
    for _ in range(slurmjobs.UNKNOWN_TIMES - 1):
        assert polls([job], {}) == ([job], [])
    kept, errors = polls([job], {})
    assert kept == [] and errors[0][0] == "7" and "knows nothing of job 7" in errors[0][1]


@pytest.mark.parametrize("state", sorted(slurmjobs.ENDED))
def test_a_job_that_slurm_does_not_start_again_is_given_up_in_the_end(polls, state):
    job = submitted("7")
    for _ in range(slurmjobs.UNKNOWN_TIMES - 1):
        assert polls([job], {"7": state}) == ([job], [])
    assert polls([job], {"7": "PENDING"}) == ([job], [])  # it was only late
    for _ in range(slurmjobs.UNKNOWN_TIMES - 1):
        assert polls([job], {"7": state}) == ([job], [])
    kept, errors = polls([job], {"7": state})
    assert kept == [] and f"Job 7 is {state}" in errors[0][1]


def test_a_job_that_slurm_has_forgotten_has_noted_how_it_ended(polls, monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_NAME", "run")
    for number, state in (("7", "COMPLETED"), ("8", "FAILED")):
        monkeypatch.setenv("SLURM_JOB_ID", number)
        slurmnotes.noting(lambda: None, state)()
    ended, failed = submitted("7"), submitted("8")
    for job in (ended, failed):
        job.aux["slurm_logfile"] = tmp_path / "job.log"
    assert polls([ended, failed], {"7": "PENDING", "8": "RUNNING"}) == ([ended, failed], [])
    assert polls([ended, failed], None) == ([ended, failed], [])
    kept, errors = polls([ended, failed], {})
    assert kept == [] and [number for number, _ in errors] == ["8"]
    slurmnotes.starting(lambda *_: None)(None, None)  # job 8 is requeued
    assert slurmnotes.noted_states("run") == {"7": "COMPLETED"}
    slurmnotes.tidying(lambda _: None)(SimpleNamespace(run_uuid="run"))
    assert slurmnotes.noted_states("run") == {}


def test_a_task_of_an_array_notes_its_own_end(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    said = {"JOB_NAME": "run", "JOB_ID": "9", "ARRAY_JOB_ID": "7", "ARRAY_TASK_ID": "2"}
    for name, value in said.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    slurmnotes.noting(lambda: None, "COMPLETED")()
    assert slurmnotes.noted_states("run") == {"7_2": "COMPLETED"}


def test_why_a_job_waits_is_told_once(caplog):
    answers, executor = Answers(), SimpleNamespace(run_uuid="run", logger=logging.getLogger("why"))
    answers.states = {"7": "PENDING", "8": "RUNNING", "9": "PENDING"}

    async def check(_executor, jobs):
        for job in jobs:
            yield job

    async def query(command, _logger):
        assert "--states=PENDING" in command and "--name=run" in command
        return {"7": "PartitionTimeLimit", "9": "Priority"}, 0.1

    look = telling(check, query, answers)

    async def collected():
        return [job async for job in look(executor, ["job"])]

    assert asyncio.run(collected()) == asyncio.run(collected()) == ["job"]
    assert [record.message for record in caplog.records] == [
        "Job 7 waits; Slurm's reason is PartitionTimeLimit."
    ]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("accounting_storage/slurmdbd", True),
        ("accounting_storage/none", False),  # Slurm 22
        ("(null)", False),  # Slurm 24
    ],
)
def test_sacct_is_of_use_where_accounts_are_kept(monkeypatch, tmp_path, said, kept):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho 'AccountingStorageType   = {said}'\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    useful = accounting(lambda _name: True)
    assert (useful("sacct"), useful("squeue")) == (kept, True)


@pytest.mark.parametrize(
    ("runs", "asked_s", "slept"), [(True, 1, 4), (True, 99, 180), (False, 1, 0)]
)
def test_jobs_are_asked_about_before_long(monkeypatch, runs, asked_s, slept):
    clock = [0]

    async def second(duration_s):
        clock[0] += duration_s

    monkeypatch.setattr(slurmjobs, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(slurmjobs, "asyncio", SimpleNamespace(sleep=second))
    settings = SimpleNamespace(seconds_between_status_checks=asked_s)
    executor = SimpleNamespace(
        workflow=SimpleNamespace(remote_execution_settings=settings),
        next_seconds_between_status_checks=180,
        wait=runs,
    )
    asyncio.run(slurmjobs.sleep(executor))
    assert clock == [slept]


def test_a_job_with_long_names_has_a_folder_for_its_log(tmp_path):
    job = SimpleNamespace(wildcards=["jud/ge", "名" * 90])
    name = slurmjobs.cutting(plugin.get_job_wildcards)(job)
    (tmp_path / name).mkdir()
    assert name.startswith("jud_ge_名名") and not name.endswith("\ufffd")


def test_who_cancelled_a_job_is_no_state_of_its_own(polls):
    kept, errors = polls([submitted("7")], {"7": "CANCELLED by 1000"})
    assert kept == [] and "'CANCELLED'" in errors[0][1]


def test_a_task_of_an_array_is_known_by_its_parent(polls):
    job = submitted("7_2")
    for _ in range(slurmjobs.UNKNOWN_TIMES):
        assert polls([job], {"7": "RUNNING"}) == ([job], [])


def keep_step(monkeypatch):
    """Have what is mended of a job's inside put back afterwards."""
    monkeypatch.setattr(step, "subprocess", subprocess)
    for name in ("__post_init__", "run_job", "report_job_success", "report_job_error"):
        monkeypatch.setattr(step.Executor, name, getattr(step.Executor, name))


def test_an_executor_that_is_still_set_up_is_waited_for():
    """Its thread looks at jobs meanwhile; if that raised, nobody would ever look at any (seen)."""

    async def look():
        settings = SimpleNamespace(seconds_between_status_checks=1)
        half = SimpleNamespace(
            wait=False, workflow=SimpleNamespace(remote_execution_settings=settings)
        )
        check = looking(plugin.Executor.check_active_jobs, Answers())
        found = [job async for job in check(half, [])]
        await slurmjobs.sleep(half)
        return found

    assert asyncio.run(look()) == []


def test_what_runs_in_a_job_knows_where_slurm_is(monkeypatch):
    """The executor for the inside of a job hands srun an environment without SLURM_*."""
    keep_step(monkeypatch)
    slurmjobs.keep_slurm_jobs()
    monkeypatch.setenv("SLURM_CONF", "/shared/slurm.conf")
    started = step.subprocess.Popen(
        ["printenv", "SLURM_CONF"], stdout=step.subprocess.PIPE, text=True, env={"PATH": "/bin"}
    )
    assert started.communicate()[0] == "/shared/slurm.conf\n"


def test_a_job_that_tells_all_does_not_tell_its_environment(monkeypatch, caplog):
    keep_step(monkeypatch)
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    inside = SimpleNamespace(logger=logging.getLogger("inside"))
    step.Executor.__post_init__(inside)
    assert "hf_planted" in caplog.text  # what is mended
    caplog.clear()
    slurmjobs.keep_slurm_jobs()
    step.Executor.__post_init__(inside)
    inside.logger.debug("it speaks again")
    assert caplog.messages == ["it speaks again"]


def test_a_workflow_within_a_job_knows_where_slurm_is(monkeypatch):
    monkeypatch.setenv("SLURM_CONF", "/shared/slurm.conf")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    slurmjobs.sparing(plugin.delete_slurm_environment)()
    assert {name for name in os.environ if name.startswith("SLURM_")} == {"SLURM_CONF"}


def test_the_installed_executor_is_mended_once(monkeypatch):
    methods = (
        "run_job",
        "cancel_jobs",
        "check_active_jobs",
        "get_account_arg",
        "sleep",
        "shutdown",
    )
    for name in methods:
        monkeypatch.setattr(plugin.Executor, name, getattr(plugin.Executor, name))
    for name in (
        "query_job_status",
        "get_job_wildcards",
        "delete_slurm_environment",
    ):
        monkeypatch.setattr(plugin, name, getattr(plugin, name))
    monkeypatch.setattr(plugin, "is_query_tool_available", plugin.is_query_tool_available)
    monkeypatch.setattr(plugin, "time", plugin.time)
    keep_step(monkeypatch)
    slurmjobs.keep_slurm_jobs()
    mended = plugin.Executor.run_job
    slurmjobs.keep_slurm_jobs()
    assert plugin.Executor.run_job is mended
    assert isinstance(plugin.time, slurmsubmission.Brisk)
    job = SimpleNamespace(resources={})
    assert list(plugin.Executor.get_account_arg(None, job)) == [""]  # sbatch knows it
