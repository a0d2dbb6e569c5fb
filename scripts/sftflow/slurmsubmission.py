"""Jobs that Slurm does not take, and jobs that nobody wants any more.

Seen in snakemake-executor-plugin-slurm 2.6.1, in the process that submits:

- Jobs are submitted by threads that nobody listens to. What one of them raises (`sacctmgr` knows no
  such account, `sbatch` prints two numbers) is dropped, and so is the job. Here it is the job's
  failure, told and tried again as any other.
- A refusal that passes (the controller is restarted, the user has as many jobs as are allowed)
  is a job's failure: all of its attempts are gone within seconds, each asking for more. Here it is
  asked again until Slurm takes the job.
- Each of two threads sleeps 5 s before it submits a job: 200 jobs take eight minutes, and each
  stage of a chain waits. Here it is 0.2 s, so that the controller has ten jobs a second at most.
- After Ctrl-C the threads go on, with all jobs that wait for their turn, and nobody cancels these.
  Here nothing more is submitted, and what was at that moment is cancelled.
"""

from __future__ import annotations

import functools
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Any

WAIT_S = 30.0
PAUSE_S = 0.2
PASSING = re.compile(
    r"\w*Submit\w*Limit"  # AssocMaxSubmitJobLimit, QOSMaxSubmitJobPerUserLimit
    r"|temporarily unable|[Rr]esource temporarily unavailable"  # MaxJobCount
    r"|[Uu]nable to contact slurm controller|Communication connection failure"
    r"|Socket timed out|Connection refused|Zero Bytes were transmitted"
)


class Brisk:
    """The module time, with shorter sleeps."""

    def __getattr__(self, name: str) -> Any:
        """Return what time has."""
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Sleep as long as that, and ``PAUSE_S`` at most."""
        time.sleep(min(seconds, PAUSE_S))


class Attempt:
    """An executor whose job's failure is kept here, not reported."""

    def __init__(self, executor: Any) -> None:
        """Stand for ``executor``."""
        self._executor = executor
        self.fault: str | None = None

    def __getattr__(self, name: str) -> Any:
        """Return what the executor has."""
        return getattr(self._executor, name)

    def _report_job_error_threadsafe(self, _info: Any, msg: str) -> None:
        # What the job is to do, all of Snakemake's options in base64, hides what Slurm said.
        self.fault = re.sub(r" --wrap=.*", " --wrap=...\n", msg, flags=re.DOTALL)


def submitting(run_job: Callable[[Any, Any], None], stopped: Event) -> Callable[[Any, Any], None]:
    """Return a submission that waits for Slurm, and whose exception is the failure of its job."""
    from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

    @functools.wraps(run_job)
    def told(executor: Any, job: Any) -> None:
        waits = False
        while not stopped.is_set():
            fault = _fault(run_job, executor, job)
            if fault is None:
                return
            passing = PASSING.search(fault)
            if not passing:
                executor._report_job_error_threadsafe(SubmittedJobInfo(job), fault)
                return
            if not waits:
                said = (
                    f"Slurm takes no job now, and is asked again every {WAIT_S:g} s: {passing[0]}"
                )
                executor.logger.warning(said)
            waits = True
            stopped.wait(WAIT_S)

    return told


def _fault(run_job: Callable[[Any, Any], None], executor: Any, job: Any) -> str | None:
    """Submit a job; return why that failed, None if it did not."""
    attempt = Attempt(executor)
    try:
        run_job(attempt, job)
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        return f"The job could not be given to Slurm: {said}"
    return attempt.fault


def cancelling(
    cancel_jobs: Callable[[Any, list[Any]], None], stopped: Event
) -> Callable[[Any, list[Any]], None]:
    """Return a cancellation of all jobs of an invocation, those too that are just submitted."""

    @functools.wraps(cancel_jobs)
    def cancelled(executor: Any, jobs: list[Any]) -> None:
        stopped.set()
        cancel_jobs(executor, jobs)
        executor._job_submission_executor.shutdown(wait=True, cancel_futures=True)
        # Its name is the invocation's own.
        command = ["scancel", f"--name={executor.run_uuid}"]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, check=False, timeout=60)

    return cancelled
