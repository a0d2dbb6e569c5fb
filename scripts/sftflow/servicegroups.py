"""What Snakemake's groups of a server and its users lack, wherever such a group runs.

Made for the Snakemake that cutoff.py names.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from snakemake.executors.local import Executor
from snakemake.logging import logger
from snakemake.shell import shell

from sftflow import previous
from sftflow.dagjobs import describe, is_service
from sftflow.joblogs import cut_off


def end_failed_groups() -> None:
    """End a server when its group fails, also if that was before its users had begun.

    A server's file that came too late (a busy machine, a slow disk) fails its users; the server
    itself ran on, and the workflow waited for it for ever.
    """
    run = Executor.run_group_job

    def run_and_end(executor: Any, group: Any) -> None:
        try:
            run(executor, group)
        except BaseException:
            for pause_s in (1, 0):  # one may be about to start at this moment
                for job in group:
                    shell.kill(job.jobid)
                time.sleep(pause_s)
            raise

    Executor.run_group_job = run_and_end


def keep_each_of_a_group(record: Callable[[Any], None]) -> None:
    """Record each job that asks a server as soon as it has finished, and tell which failed first.

    Snakemake looks at a group when its last job has: a workflow that was killed in the meantime
    would have to make them all again. And it ends all others when one fails, and tells all alike.
    """
    run = Executor.cached_or_run
    failed = set()  # servers of which a user has

    def run_and_keep(executor: Any, job: Any, *how: Any) -> None:
        server = next((d for d in job.dag.dependencies[job] if is_service(d)), None)
        try:
            run(executor, job, *how)
        except BaseException:
            if server is not None and server not in failed:
                failed.add(server)
                why = cut_off(map(str, job.log)) or "failed"
                logger.error(f"{describe(job)} {why}; its server and whoever asks it are ended.")
            raise
        outputs = [str(path) for path in job.output]
        if server is not None and all(Path(path).exists() for path in outputs):
            with suppress(OSError):  # a full disk: it is tried again at the end of the group
                record(job)
                previous.drop(outputs)

    Executor.cached_or_run = run_and_keep
