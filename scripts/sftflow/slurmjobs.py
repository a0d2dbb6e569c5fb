"""What Snakemake's executor for Slurm would lose, so that the workflow waited for it for ever.

Seen in snakemake-executor-plugin-slurm 2.6.1, in the process that submits:

- Jobs are submitted by threads that nobody listens to. What one of them raises (the controller is
  restarted at that moment, `sacctmgr` knows no such account, `sbatch` prints two numbers) is
  dropped, and so is the job. Here it is the job's failure, told and tried again as any other.
- When Slurm does not answer five questions within a second, all jobs that ran are forgotten. Here
  they are asked about again later.
- A job that Slurm has forgotten (MinJobAge) counts as running. Here it has failed, after a while.
- sacct says who cancelled a job ("CANCELLED by 1000"), and such a state is none that the executor
  knows: the job counts as running. Here it is read by its first word.
- A job that was preempted, or whose node failed, counts as running, for Slurm may start it again.
  Where a cluster does not (PreemptMode=CANCEL), it stays so. Here it has failed, after a while.
- Inside a job it starts srun without SLURM_CONF, by which many clusters (a module sets it) say
  where their Slurm is: srun finds none, and every job fails. Here what says that stays.
- Without an account it asks `sacct` for the last one, by a command that can't succeed, and that a
  cluster without accounts need not have. Here nothing is guessed: `sbatch` itself knows
  SBATCH_ACCOUNT and the user's default.

The lock pins the executor that this was made for.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

PLUGIN = "snakemake_executor_plugin_slurm"
STEP_PLUGIN = "snakemake_executor_plugin_slurm_jobstep"  # what runs inside of a job
WHEREABOUTS = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")
# A new job may be unknown for some questions, if an accounting database is asked.
UNKNOWN_TIMES = 10
# States from which Slurm goes back to PENDING within seconds, or never.
ENDED = {"PREEMPTED", "NODE_FAIL", "REVOKED"}


class Answers:
    """Slurm's last answer: job id -> state, None if there was none."""

    states: dict[str, str] | None = None


def keep_slurm_jobs() -> None:
    """Mend the executor, if Snakemake has loaded it; a second time changes nothing."""
    step = sys.modules.get(STEP_PLUGIN)
    if step is not None and not isinstance(step.subprocess, Located):
        step.subprocess = Located()
    plugin = sys.modules.get(PLUGIN)
    if plugin is None or hasattr(plugin.Executor.run_job, "__wrapped__"):
        return
    answers = Answers()
    plugin.Executor.run_job = submitting(plugin.Executor.run_job)
    plugin.query_job_status = asking(plugin.query_job_status, answers)
    plugin.Executor.check_active_jobs = looking(plugin.Executor.check_active_jobs, answers)
    plugin.get_account = lambda _logger: None
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


def submitting(run_job: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Return a submission whose exception is the failure of its job."""
    from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

    @functools.wraps(run_job)
    def told(executor: Any, job: Any) -> None:
        try:
            run_job(executor, job)
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            executor._report_job_error_threadsafe(
                SubmittedJobInfo(job), f"The job could not be given to Slurm: {said}"
            )

    return told


def asking(query: Callable[..., Any], answers: Answers) -> Callable[..., Any]:
    """Return a question about jobs whose failure means: nothing is known of any."""

    @functools.wraps(query)
    async def patient(command: str, logger: Any) -> tuple[dict[str, str], float]:
        answers.states, duration_s = await query(command, logger)
        if answers.states is None:
            logger.warning("Slurm does not say how the jobs are; it is asked again later.")
            return {}, 0.0
        # "CANCELLED by 1000", and what sacct cuts off where a column is too narrow.
        answers.states = {
            job: (state.split() or [""])[0].rstrip("+") for job, state in answers.states.items()
        }
        return answers.states, duration_s

    return patient


def looking(check: Callable[..., Any], answers: Answers) -> Callable[..., Any]:
    """Return a look at all jobs that gives up those that Slurm forgot, or ended without a word."""

    @functools.wraps(check)
    async def counted(executor: Any, jobs: list[Any]) -> AsyncIterator[Any]:
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


def state_of(number: str, states: dict[str, str] | None) -> str | None:
    """Return the state of a job, of a task of an array that of all; None if it is not known."""
    known = states or {}
    return known.get(number, known.get(number.split("_")[0]))
