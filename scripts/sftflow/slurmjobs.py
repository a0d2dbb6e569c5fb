"""What Snakemake's executor for Slurm would lose, so that the workflow waited for it for ever.

Seen in snakemake-executor-plugin-slurm 2.6.1, in the process that submits:

- What goes wrong when a job is submitted: sftflow/slurmsubmission.py.
- When Slurm does not answer five questions within a second, all jobs that ran are forgotten. Here
  they are asked about again later.
- A job that Slurm has forgotten (MinJobAge) counts as running. Here its note says how it ended
  (sftflow/slurmnotes.py); without one (it was killed) it has failed, after a while.
- Where Slurm forgets soon, sacct is asked, which has no answer on a cluster that keeps no accounts.
  Here it is asked only where accounts are kept.
- sacct says who cancelled a job ("CANCELLED by 1000"), and such a state is none that the executor
  knows: the job counts as running. Here it is read by its first word.
- A job that was preempted, or whose node failed, counts as running, for Slurm may start it again.
  Where a cluster does not (PreemptMode=CANCEL), it stays so. Here it has failed, after a while.
- Nothing says why a job waits: one that is held, or for which a partition is too short, does so for
  ever. Here Slurm's reason is told, once each.
- It begins to look at jobs before it is set up, for which it asks Slurm: where that answers late
  (15 s in profiles/slurm), an attribute is missing, its thread ends, and no job's end is ever seen.
  Here nothing is asked while there are no jobs.
- It sleeps up to three minutes between two questions, and for as long after Ctrl-C. Here up to four
  times what --seconds-between-status-checks says, and no longer than Snakemake itself runs.
- A job's log lies in a folder named after all of its wildcards, which no file system takes if run
  and judge have long names. Here the name is cut.
- Inside a job it starts srun without SLURM_CONF, by which many clusters (a module sets it) say
  where their Slurm is: srun finds none, and every job fails. Here what says that stays.
- With --verbose it writes the environment of a job, with all tokens, into the job's log. Here not.
- Without an account it asks `sacct` for the last one, by a command that can't succeed, and that a
  cluster without accounts need not have. Here nothing is guessed: `sbatch` itself knows
  SBATCH_ACCOUNT and the user's default.

The lock pins the executor that this was made for.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from threading import Event
from typing import Any

from sftflow.slurmnotes import noted_states, noting, starting, tidying
from sftflow.slurmsubmission import Brisk, cancelling, submitting

PLUGIN = "snakemake_executor_plugin_slurm"
STEP_PLUGIN = "snakemake_executor_plugin_slurm_jobstep"  # what runs inside of a job
WHEREABOUTS = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")
# A new job may be unknown for some questions, if an accounting database is asked.
UNKNOWN_TIMES = 10
# States from which Slurm goes back to PENDING within seconds, or never.
ENDED = {"PREEMPTED", "NODE_FAIL", "REVOKED"}
SLOWER = 4
NAME_BYTES = 200
# Why a job waits that need only wait for its turn.
USUAL = {"None", "Priority", "Resources", "BeginTime", "Cleaning", "Reservation"}


class Answers:
    """Slurm's last answer: job id -> state, None if there was none; the name of all these jobs."""

    states: dict[str, str] | None = None
    run = ""


def keep_slurm_jobs() -> None:
    """Mend the executor, if Snakemake has loaded it; a second time changes nothing."""
    step = sys.modules.get(STEP_PLUGIN)
    if step is not None and not isinstance(step.subprocess, Located):
        step.subprocess = Located()
        step.Executor.__post_init__ = silencing(step.Executor.__post_init__)
        step.Executor.run_job = starting(step.Executor.run_job)
        for name, state in (("report_job_success", "COMPLETED"), ("report_job_error", "FAILED")):
            setattr(step.Executor, name, noting(getattr(step.Executor, name), state))
    plugin = sys.modules.get(PLUGIN)
    if plugin is None or hasattr(plugin.Executor.run_job, "__wrapped__"):
        return
    answers, stopped, query = Answers(), Event(), plugin.query_job_status
    plugin.time = Brisk()
    plugin.Executor.run_job = submitting(plugin.Executor.run_job, stopped)
    plugin.Executor.cancel_jobs = cancelling(plugin.Executor.cancel_jobs, stopped)
    plugin.query_job_status = asking(query, answers)
    check = telling(plugin.Executor.check_active_jobs, query, answers)
    plugin.Executor.check_active_jobs = looking(check, answers)
    plugin.Executor.sleep = sleep
    plugin.is_query_tool_available = accounting(plugin.is_query_tool_available)
    plugin.get_job_wildcards = cutting(plugin.get_job_wildcards)
    plugin.Executor.get_account_arg = leaving(plugin.Executor.get_account_arg)
    plugin.Executor.shutdown = tidying(plugin.Executor.shutdown)
    plugin.delete_slurm_environment = sparing(plugin.delete_slurm_environment)


class Located:
    """The module subprocess, whose processes know where Slurm is, whatever they are given."""

    def __getattr__(self, name: str) -> Any:
        """Return what subprocess has."""
        return getattr(subprocess, name)

    def Popen(  # noqa: N802
        self, *command: Any, env: dict[str, str] | None = None, **more: Any
    ) -> subprocess.Popen:
        """Start a process with this environment and Slurm's whereabouts."""
        located = None if env is None else env | whereabouts()
        return subprocess.Popen(*command, env=located, **more)


def silencing(begin: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a beginning of the executor inside of a job that logs nothing."""

    @functools.wraps(begin)
    def silenced(executor: Any) -> None:
        logger, executor.logger = executor.logger, logging.Logger("nobody")
        begin(executor)
        executor.logger = logger

    return silenced


def whereabouts() -> dict[str, str]:
    """Return the variables of the environment that say where Slurm is."""
    return {name: os.environ[name] for name in WHEREABOUTS if name in os.environ}


def sparing(forget: Callable[[], None]) -> Callable[[], None]:
    """Return a clean-up of Slurm's variables, for a workflow within a job, that leaves these."""

    @functools.wraps(forget)
    def spared() -> None:
        kept = whereabouts()
        forget()
        os.environ.update(kept)

    return spared


def keeps_accounts(config: str) -> bool:
    """Say whether, by `scontrol show config`, there is a database that sacct can ask."""
    found = re.search(r"^AccountingStorageType\s*=\s*(\S+)", config, re.MULTILINE)
    return bool(found) and found[1] not in ("(null)", "accounting_storage/none")


def accounting(available: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return whether a command is of use: sacct is there, and useless, without accounts too."""

    @functools.cache
    def useful(name: str) -> bool:
        if not available(name) or name != "sacct":
            return available(name)
        command = ["scontrol", "show", "config"]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        return keeps_accounts(said.stdout)

    return functools.wraps(available)(useful)


def leaving(account_of: Callable[[Any, Any], Iterator[str]]) -> Callable[..., Iterator[str]]:
    """Return what names the account of a job, if that has one; sbatch knows all others."""

    @functools.wraps(account_of)
    def left(executor: Any, job: Any) -> Iterator[str]:
        if job.resources.get("slurm_account"):
            yield from account_of(executor, job)
        else:
            yield ""

    return left


def cutting(name_of: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return a way to name a job after its wildcards that a file system takes."""

    @functools.wraps(name_of)
    def cut(job: Any) -> str:
        return name_of(job).encode()[:NAME_BYTES].decode(errors="ignore")

    return cut


def asking(query: Callable[..., Any], answers: Answers) -> Callable[..., Any]:
    """Return a question about jobs whose failure means: nothing is known of any."""

    @functools.wraps(query)
    async def patient(command: str, logger: Any) -> tuple[dict[str, str], float]:
        answers.states, duration_s = await query(command, logger)
        if answers.states is None:
            logger.warning("Slurm does not say how the jobs are; it is asked again later.")
            return {}, 0.0
        # "CANCELLED by 1000", and what sacct cuts off where a column is too narrow.
        answers.states = noted_states(answers.run) | {
            job: (state.split() or [""])[0].rstrip("+") for job, state in answers.states.items()
        }
        return answers.states, duration_s

    return patient


def looking(check: Callable[..., Any], answers: Answers) -> Callable[..., Any]:
    """Return a look at all jobs that gives up those that Slurm forgot, or ended without a word."""

    @functools.wraps(check)
    async def counted(executor: Any, jobs: list[Any]) -> AsyncIterator[Any]:
        if not jobs:  # perhaps the executor is not yet what it will be
            return
        answers.run = executor.run_uuid
        async for job in check(executor, jobs):
            state = state_of(job.external_jobid, answers.states)
            lives = answers.states is None or state not in {None, *ENDED}
            job.aux["lost_times"] = 0 if lives else job.aux.get("lost_times", 0) + 1
            if job.aux["lost_times"] < UNKNOWN_TIMES:
                yield job
                continue
            said = f"Slurm knows nothing of job {job.external_jobid} any more, nor how it ended."
            if state:
                said = f"Job {job.external_jobid} is {state}, and Slurm has not started it again."
            executor.report_job_error(job, msg=said)

    return counted


def telling(
    check: Callable[..., Any], query: Callable[..., Any], answers: Answers
) -> Callable[..., Any]:
    """Return a look at all jobs that tells why some wait, if it is not for their turn."""
    told: set[str] = set()

    @functools.wraps(check)
    async def reasoned(executor: Any, jobs: list[Any]) -> AsyncIterator[Any]:
        async for job in check(executor, jobs):
            yield job
        if "PENDING" not in (answers.states or {}).values():
            return
        command = f"squeue --noheader --states=PENDING --format=%i|%r --name={executor.run_uuid}"
        reasons, _ = await query(command, executor.logger)
        for number, reason in (reasons or {}).items():
            if reason not in USUAL | told:
                told.add(reason)
                executor.logger.warning(f"Job {number} waits; Slurm's reason is {reason}.")

    return reasoned


async def sleep(executor: Any) -> None:
    """Wait until jobs are to be asked about again, or the executor ends."""
    asked_s = executor.workflow.remote_execution_settings.seconds_between_status_checks
    wait_s = getattr(executor, "next_seconds_between_status_checks", asked_s)
    wait_s = min(wait_s, SLOWER * asked_s)
    until = time.monotonic() + wait_s
    while executor.wait and time.monotonic() < until:
        await asyncio.sleep(1)


def state_of(number: str, states: dict[str, str] | None) -> str | None:
    """Return the state of a job, of a task of an array that of all; None if it is not known."""
    known = states or {}
    return known.get(number, known.get(number.split("_")[0]))
