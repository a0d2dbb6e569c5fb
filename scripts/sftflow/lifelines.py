"""No job outlives the Snakemake that started it.

Snakemake (9.27) that is killed, as the kernel does for lack of memory, ends nobody: a stage that
ran went on beside those of the next run, and could put what it had made of former settings over
theirs. Here the kernel sends SIGTERM to each job's shell, which ``exec`` makes the stage itself,
when the thread that started it ends; that thread waits for the job.
"""

from __future__ import annotations

import os
import signal
from functools import partial

from snakemake.shell import shell

from sftflow.deathsignal import end_with


def end_jobs_with_workflow() -> None:
    """Let every shell command that this process starts end with it."""
    tie = partial(end_with, os.getpid(), signal.SIGTERM)
    shell._process_args = {**shell._process_args, "preexec_fn": tie}
