"""What Snakemake's executor for Slurm would lose, so that the workflow waited for it for ever.

Seen in snakemake-executor-plugin-slurm 2.6.1, in the process that submits:

- Jobs are submitted by threads that nobody listens to. What one of them raises (the controller is
  restarted at that moment, `sacctmgr` knows no such account, `sbatch` prints two numbers) is
  dropped, and so is the job. Here it is the job's failure, told and tried again as any other.
- When Slurm does not answer five questions within a second, all jobs that ran are forgotten. Here
  they are asked about again later.
- A job that Slurm has forgotten (MinJobAge) counts as running. Here it has failed, after a while.
- Without an account it asks `sacct` for the last one, by a command that can't succeed, and that a
  cluster without accounts need not have. Here nothing is guessed: `sbatch` itself knows
  SBATCH_ACCOUNT and the user's default.

The lock pins the executor that this was made for.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

PLUGIN = "snakemake_executor_plugin_slurm"
# A new job may be unknown for some questions, if an accounting database is asked.
UNKNOWN_TIMES = 10


class Answers:
    """Slurm's last answer: job id -> state, None if there was none."""

    states: dict[str, str] | None = None


def keep_slurm_jobs() -> None:
    """Mend the executor, if Snakemake has loaded it; a second time changes nothing."""
    plugin = sys.modules.get(PLUGIN)
    if plugin is None or hasattr(plugin.Executor.run_job, "__wrapped__"):
        return
    answers = Answers()
    plugin.Executor.run_job = submitting(plugin.Executor.run_job)
    plugin.query_job_status = asking(plugin.query_job_status, answers)
    plugin.Executor.check_active_jobs = looking(plugin.Executor.check_active_jobs, answers)
    plugin.get_account = lambda _logger: None


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
        return answers.states, duration_s

    return patient


def looking(check: Callable[..., Any], answers: Answers) -> Callable[..., Any]:
    """Return a look at all jobs that gives up those of which Slurm knows nothing any more."""

    @functools.wraps(check)
    async def counted(executor: Any, jobs: list[Any]) -> AsyncIterator[Any]:
        async for job in check(executor, jobs):
            known = answers.states
            if known is None or {job.external_jobid, job.external_jobid.split("_")[0]} & set(known):
                job.aux["unknown_times"] = 0
            else:
                job.aux["unknown_times"] = job.aux.get("unknown_times", 0) + 1
            if job.aux["unknown_times"] < UNKNOWN_TIMES:
                yield job
                continue
            said = f"Slurm knows nothing of job {job.external_jobid} any more, nor how it ended."
            executor.report_job_error(job, msg=said)

    return counted
