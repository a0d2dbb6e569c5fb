"""No failure takes a finished result with it, wherever the job ran.

``keep_results`` replaces two methods of Snakemake's jobs, in every process that has to do with
one: the one that plans and, on a cluster, the one in the batch script and the one that starts the
shell command. No result rests on Snakemake's own notes about jobs (.snakemake/metadata), so a disk
that takes no more of them fails no job. Made for the Snakemake that cutoff.py names.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from snakemake.exceptions import WorkflowError
from snakemake.jobs import Job
from snakemake.logging import logger
from snakemake.persistence.file import FilePersistence

from sftflow import previous
from sftflow.atwork import if_nobody_works
from sftflow.dagjobs import describe, is_service, wildcards_of
from sftflow.digests import Digests
from sftflow.joblogs import cut_off
from sftflow.machinefaults import machine_fault
from sftflow.oomkills import oom_kills_before
from sftflow.provenance import as_recorded, read_record


class Books(Protocol):
    """Who writes down what jobs were made from."""

    def begin(self, job: Any) -> None:
        """Remember what a job that starts here finds."""

    def record(self, job: Any) -> None:
        """Write down what a job that has just run was made from."""


def keep_results(digests: Digests, books: Books | None = None) -> None:
    """Let no failure take a finished result with it.

    Snakemake (9.27) deletes a job's former outputs before the job starts, and the outputs of a
    whole group if one of its jobs fails. Here the former outputs are kept aside until there are
    new ones (previous.py); and of a group at a server, what had finished stays: it was not there
    before, and each stage renames its outputs into place at its end, so what is there is whole.

    Of a job that ran on a cluster, another process has set the former outputs aside and put them
    back, or none has, because the job never began: they are known by their record.
    """
    remove, postprocess = Job.remove_existing_output, Job.postprocess
    oom_kills_before()  # what is killed from now on is counted

    async def set_aside(job: Any) -> None:
        if not is_service(job):
            previous.set_aside(map(str, job.output))
            previous.remove_unfinished(map(str, job.output))
            if books is not None:
                books.begin(job)
        await remove(job)

    async def postprocess_and_keep(job: Any, error: bool = False, **options: Any) -> None:
        outputs = [str(path) for path in job.output]
        asked = any(is_service(above) for above in job.dag.dependencies[job])
        there = error and all(Path(path).exists() for path in outputs)
        former = there and ran_elsewhere(job) and is_former(job, digests)
        finished = there and asked and not former
        if finished:
            logger.info(f"Kept {describe(job)}: it had finished before another job failed.")
        # Content counts here, and no time stamp: Snakemake would fail a job, and delete what it
        # has made, for an input that is dated later than that (a clock that was set back).
        options["check_output_mtime"] = False
        await postprocess(job, error=error and not finished and not former, **options)
        if error and not finished:
            how = cut_off(map(str, job.log))
            # A server and whoever shares it are killed when one of them fails; of a job that never
            # began on a cluster the log of the time before may be there.
            if how and not asked and not is_service(job) and not former:
                logger.error(f"{describe(job)} {how}")
            if former or previous.put_back(outputs):
                logger.info(f"The former result of {describe(job)} is as it was.")
            return
        previous.drop(outputs)
        if finished and books is not None:
            recorded(books.record, job)

    Job.remove_existing_output = set_aside
    Job.postprocess = postprocess_and_keep
    spare_notes()
    spare_log()


def spare_notes() -> None:
    """Let Snakemake's notes about jobs decide nothing.

    They may be missing where they can't be written, which is said once. A job that it noted as
    incomplete, for its workflow was killed, is judged by what is there as any other: its former
    result may be back, and whoever asked a server may have finished.
    """
    write = FilePersistence._io_write
    told = []

    def write_if_possible(notes: Any, subject: Any, value: Any, name: str, *mode: Any) -> None:
        try:
            write(notes, subject, value, name, *mode)
        except OSError as error:
            with suppress(OSError):
                Path(notes._record_path(subject, name)).unlink()  # half of it may be there
            if not told:
                told.append(error)
                logger.warning(
                    f"Snakemake can't write its notes in {notes.path} ({error.strerror}): run "
                    "times will be missing in its own report, nothing else."
                )

    FilePersistence._io_write = write_if_possible
    FilePersistence._filter_incomplete_keys = lambda _notes, _keys: set()


def spare_log() -> None:
    """Let Snakemake say once that its log can't be written: else a traceback for every line.

    Among those, 30 lines each, nobody finds the sentence of a stage that the disk has no room for.
    """
    told = []

    def tell_once(handler: logging.FileHandler, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            logging.Handler.handleError(handler, record)
        elif not told:
            told.append(error)
            place = Path(handler.baseFilename).name
            sys.stderr.write(
                f"Snakemake can't write its log {place} ({error.strerror}): what it says is here, "
                "and not there.\n"
            )

    logging.FileHandler.handleError = tell_once


def recorded(record: Callable[[Any], None], job: Any) -> None:
    """Record a job that has finished; raise WorkflowError with a sentence if the disk is full."""
    try:
        record(job)
    except OSError as error:
        why = machine_fault(error) or error
        raise WorkflowError(f"{describe(job)} has ended, but can't be recorded: {why}") from None


def restore_former(jobs: Iterable) -> None:
    """Put back what jobs had left before they were started again and killed with their workflow.

    A workflow that is at work, this one too, has them aside and does this itself.
    """
    if not previous.FOLDER.is_dir():
        return
    with if_nobody_works() as free:
        for job in jobs if free else ():
            if not is_service(job) and previous.put_back(map(str, job.output)):
                logger.info(f"{describe(job)} was killed; its former result was put back.")


def ran_elsewhere(job: Any) -> bool:
    """Return whether a job's shell command is started by another process, on a cluster."""
    return job.dag.workflow.non_local_exec and not job.is_local


def is_former(job: Any, digests: Digests) -> bool:
    """Return whether a job's outputs are those that it left the last time that it succeeded."""
    record = read_record(job.rule.name, wildcards_of(job))
    return not is_service(job) and record is not None and as_recorded(record, digests)
