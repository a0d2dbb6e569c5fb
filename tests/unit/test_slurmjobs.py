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
from snakemake_interface_common.exceptions import WorkflowError

from sftflow import slurmjobs
from sftflow.slurmjobs import Answers, asking, looking, submitting


class Executor:
    """As much of an executor as is used: it keeps what it is told."""

    def __init__(self):
        self.errors = []

    def _report_job_error_threadsafe(self, info, msg):
        self.errors.append((info.job, msg))

    def report_job_error(self, info, msg, **_):
        self.errors.append((info.external_jobid, msg))


def submitted(number):
    return SimpleNamespace(external_jobid=number, aux={"slurm_logfile": None})


def test_what_a_submission_raises_is_its_jobs_failure():
    def run_job(_executor, _job):
        raise WorkflowError("sacctmgr:\n no account lab")

    executor = Executor()
    submitting(run_job)(executor, "training")
    assert executor.errors == [
        ("training", "The job could not be given to Slurm: sacctmgr: no account lab")
    ]


def test_a_submission_that_succeeds_is_left_alone():
    executor, seen = Executor(), []
    submitting(lambda _executor, job: seen.append(job))(executor, "training")
    assert (seen, executor.errors) == (["training"], [])


@pytest.fixture
def polls(monkeypatch):
    """Return a function that looks at jobs while Slurm answers this, through the real executor."""
    answers, executor = Answers(), Executor()
    executor.logger = logging.getLogger("polls")
    executor.run_uuid = "run"
    executor.status_rate_limiter = asyncio.Semaphore(9)
    settings = SimpleNamespace(
        init_seconds_before_status_checks=15, status_attempts=5, status_command="squeue"
    )
    executor.workflow = SimpleNamespace(executor_settings=settings)
    settings.requeue, executor._preemption_warning, executor._failed_nodes = True, False, set()
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


def test_who_cancelled_a_job_is_no_state_of_its_own(polls):
    kept, errors = polls([submitted("7")], {"7": "CANCELLED by 1000"})
    assert kept == [] and "'CANCELLED'" in errors[0][1]


def test_a_task_of_an_array_is_known_by_its_parent(polls):
    job = submitted("7_2")
    for _ in range(slurmjobs.UNKNOWN_TIMES):
        assert polls([job], {"7": "RUNNING"}) == ([job], [])


def test_what_runs_in_a_job_knows_where_slurm_is(monkeypatch):
    """The executor for the inside of a job hands srun an environment without SLURM_*."""
    monkeypatch.setattr(step, "subprocess", subprocess)
    slurmjobs.keep_slurm_jobs()
    monkeypatch.setenv("SLURM_CONF", "/shared/slurm.conf")
    started = step.subprocess.Popen(
        ["printenv", "SLURM_CONF"], stdout=step.subprocess.PIPE, text=True, env={"PATH": "/bin"}
    )
    assert started.communicate()[0] == "/shared/slurm.conf\n"


def test_a_workflow_within_a_job_knows_where_slurm_is(monkeypatch):
    monkeypatch.setenv("SLURM_CONF", "/shared/slurm.conf")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    slurmjobs.sparing(plugin.delete_slurm_environment)()
    assert {name for name in os.environ if name.startswith("SLURM_")} == {"SLURM_CONF"}


def test_the_installed_executor_is_mended_once(monkeypatch):
    for name in ("run_job", "check_active_jobs"):
        monkeypatch.setattr(plugin.Executor, name, getattr(plugin.Executor, name))
    for name in ("query_job_status", "get_account", "delete_slurm_environment"):
        monkeypatch.setattr(plugin, name, getattr(plugin, name))
    monkeypatch.setattr(step, "subprocess", step.subprocess)
    slurmjobs.keep_slurm_jobs()
    mended = plugin.Executor.run_job
    slurmjobs.keep_slurm_jobs()
    assert plugin.Executor.run_job is mended
    assert plugin.get_account(None) is None
