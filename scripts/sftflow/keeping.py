"""No failure takes a finished result with it, wherever the job ran.

``keep_results`` replaces two methods of Snakemake's jobs, in every process that has to do with
one: the one that plans and, on a cluster, the one in the batch script and the one that starts the
shell command. Made for the Snakemake that cutoff.py names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake.jobs import Job
from snakemake.logging import logger

from sftflow import previous
from sftflow.dagjobs import describe, is_service, wildcards_of
from sftflow.digests import Digests
from sftflow.joblogs import ended_without_a_word
from sftflow.provenance import as_recorded, read_record


def keep_results(digests: Digests, record: Callable[[Any], None] | None = None) -> None:
    """Let no failure take a finished result with it.

    Snakemake (9.27) deletes a job's former outputs before the job starts, and the outputs of a
    whole group if one of its jobs fails. Here the former outputs are kept aside until there are
    new ones (previous.py); and of a group at a server, what had finished stays: it was not there
    before, and each stage renames its outputs into place at its end, so what is there is whole.

    Of a job that ran on a cluster, another process has set the former outputs aside and put them
    back, or none has, because the job never began: they are known by their record.
    """
    remove, postprocess = Job.remove_existing_output, Job.postprocess

    async def set_aside(job: Any) -> None:
        if not is_service(job):
            previous.set_aside(map(str, job.output))
            previous.remove_unfinished(map(str, job.output))
        await remove(job)

    async def postprocess_and_keep(job: Any, error: bool = False, **options: Any) -> None:
        outputs = [str(path) for path in job.output]
        asked = any(is_service(above) for above in job.dag.dependencies[job])
        there = error and all(Path(path).exists() for path in outputs)
        former = there and ran_elsewhere(job) and is_former(job, digests)
        finished = there and asked and not former
        if finished:
            logger.info(f"Kept {describe(job)}: it had finished before another job failed.")
        await postprocess(job, error=error and not finished and not former, **options)
        if error and not finished:
            log = ended_without_a_word(map(str, job.log))
            # Who shares a server is killed when another one fails; of a job that never began on
            # a cluster the log of the time before may be there.
            if log and not asked and not former:
                logger.error(
                    f"{describe(job)} was killed, for its log ends without an error: by a time "
                    "limit, by somebody, or because the machine was out of memory; see "
                    f"{log} and dmesg"
                )
            if former or previous.put_back(outputs):
                logger.info(f"The former result of {describe(job)} is as it was.")
            return
        previous.drop(outputs)
        if finished and record is not None:
            record(job)

    Job.remove_existing_output = set_aside
    Job.postprocess = postprocess_and_keep


def ran_elsewhere(job: Any) -> bool:
    """Return whether a job's shell command is started by another process, on a cluster."""
    return job.dag.workflow.non_local_exec and not job.is_local


def is_former(job: Any, digests: Digests) -> bool:
    """Return whether a job's outputs are those that it left the last time that it succeeded."""
    record = read_record(job.rule.name, wildcards_of(job))
    return not is_service(job) and record is not None and as_recorded(record, digests)
