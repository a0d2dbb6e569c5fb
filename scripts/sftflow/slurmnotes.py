"""What a job of Slurm's leaves behind, to say how it ended when Slurm has forgotten that.

Slurm forgets an ended job after MinJobAge, on some clusters within seconds, and not all of them
keep accounts. A job that was killed leaves nothing.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

# In the work folder: a folder for each invocation, a file for each job.
NOTES = Path(".snakemake/slurm_ended")


def noted_states(run: str) -> dict[str, str]:
    """Return job id -> state, as Slurm words it, of an invocation's jobs that noted their end."""
    return {note.name: note.read_text() for note in (NOTES / run).glob("*")}


def own_note() -> Path:
    """Return the file of the job, or task of an array, that this process is."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    number = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
    return NOTES / os.environ["SLURM_JOB_NAME"] / number


def starting(run_job: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Return the start of a job, before which nothing is noted: it may have been requeued."""

    @functools.wraps(run_job)
    def fresh(executor: Any, job: Any) -> None:
        own_note().unlink(missing_ok=True)
        run_job(executor, job)

    return fresh


def noting(report: Callable[..., None], state: str) -> Callable[..., None]:
    """Return the report of a job's end, inside of the job, that leaves a note."""

    @functools.wraps(report)
    def noted(*arguments: Any, **more: Any) -> None:
        note = own_note()
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(state)
        report(*arguments, **more)

    return noted


def tidying(shutdown: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return an end of the executor after which nobody reads its jobs' notes."""

    @functools.wraps(shutdown)
    def tidied(executor: Any) -> None:
        shutdown(executor)
        shutil.rmtree(NOTES / executor.run_uuid, ignore_errors=True)

    return tidied
