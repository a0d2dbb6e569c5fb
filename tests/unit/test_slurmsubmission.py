"""A job that Slurm does not take now waits; one that it never takes fails; Ctrl-C leaves none."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from snakemake_interface_common.exceptions import WorkflowError

from sftflow import slurmsubmission
from sftflow.slurmsubmission import cancelling, submitting


class Executor:
    """As much of an executor as is used: it keeps what it is told."""

    def __init__(self):
        self.errors, self.run_uuid = [], "sftflow_run"
        self.logger = logging.getLogger("submission")
        self._job_submission_executor = ThreadPoolExecutor(1)

    def _report_job_error_threadsafe(self, info, msg):
        self.errors.append((info.job, msg))


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(slurmsubmission, "WAIT_S", 0.01)


def test_what_a_submission_raises_is_its_jobs_failure():
    def run_job(_executor, _job):
        raise WorkflowError("sacctmgr:\n no account lab")

    executor = Executor()
    submitting(run_job, threading.Event())(executor, "training")
    assert executor.errors == [
        ("training", "The job could not be given to Slurm: sacctmgr: no account lab")
    ]


def test_a_thread_that_submits_makes_a_short_pause(monkeypatch):
    """The executor sleeps 5 s before each job; what it asks the time for stays."""
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    brisk = slurmsubmission.Brisk()
    brisk.sleep(5)
    assert slept == [slurmsubmission.PAUSE_S] and brisk.time() > 0


def test_a_submission_that_succeeds_is_left_alone():
    executor, seen = Executor(), []
    submitting(lambda _, job: seen.append(job), threading.Event())(executor, "training")
    assert (seen, executor.errors) == (["training"], [])


def refused(*answers):
    """Return a submission that sbatch answers so, one after the other, as the executor tells it."""
    left = list(answers)

    def run_job(executor, job):
        if left:
            said = (
                f"SLURM sbatch failed. The error message was '{left.pop(0)}'.\n  sbatch call: ..."
            )
            executor._report_job_error_threadsafe(SimpleNamespace(job=job), said)

    return run_job, left


@pytest.mark.parametrize(
    "said",
    [
        # what Slurm 22.05 says
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        "sbatch: error: Batch job submission failed: Resource temporarily unavailable",
        "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: "
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "sbatch: error: AssocMaxSubmitJobLimit",
    ],
)
def test_a_job_that_slurm_does_not_take_now_waits(said, caplog):
    run_job, left = refused(said, said)
    executor = Executor()
    submitting(run_job, threading.Event())(executor, "training")
    assert (left, executor.errors) == ([], [])
    assert len(caplog.records) == 1 and "is asked again every" in caplog.records[0].message


@pytest.mark.parametrize(
    "said",
    [
        "sbatch: error: invalid partition specified: gpus",
        "sbatch: error: Batch job submission failed: Requested time limit is invalid",
        "sbatch: error: Memory specification can not be satisfied",
        "sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: "
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
    ],
)
def test_a_job_that_slurm_never_takes_fails(said):
    run_job, _ = refused(said)
    executor = Executor()
    submitting(run_job, threading.Event())(executor, "training")
    ((job, told),) = executor.errors
    assert job == "training" and said in told


def test_ctrl_c_ends_the_wait_for_slurm_and_cancels_what_was_just_submitted(monkeypatch):
    """Of three jobs one waits for Slurm's answer; the others are never given to it."""
    executor, stopped, asked, commands = Executor(), threading.Event(), [], []
    monkeypatch.setattr(
        slurmsubmission.subprocess, "run", lambda command, **_: commands.append(command)
    )
    waiting = threading.Event()

    def run_job(attempt, job):
        asked.append(job)
        waiting.set()
        attempt._report_job_error_threadsafe(None, "Unable to contact slurm controller")

    monkeypatch.setattr(slurmsubmission, "WAIT_S", 60)
    submit = submitting(run_job, stopped)
    for job in ("a", "b", "c"):
        executor._job_submission_executor.submit(submit, executor, job)
    assert waiting.wait(30)
    cancelling(lambda _, jobs: commands.append(jobs), stopped)(executor, ["running"])
    assert asked == ["a"] and executor.errors == []
    assert commands == [["running"], ["scancel", "--name=sftflow_run"]]
