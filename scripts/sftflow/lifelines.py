"""No job outlives the Snakemake that started it.

Snakemake (9.27) that is killed, as the kernel does for lack of memory, ends nobody: a stage that
ran went on beside those of the next run, and could put what it had made of former settings over
theirs. Here the kernel sends SIGTERM to each job's shell, which ``exec`` makes the stage itself,
when the thread that started it ends; that thread waits for the job.
"""

from __future__ import annotations

import ctypes
import os
import signal

from snakemake.shell import shell

PR_SET_PDEATHSIG = 1  # prctl(2)
_prctl = ctypes.CDLL(None, use_errno=True).prctl  # found before any fork


def end_jobs_with_workflow() -> None:
    """Let every shell command that this process starts end with it."""
    starter = os.getpid()

    def tie() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != starter:  # it ended before this was asked
            os._exit(128 + signal.SIGTERM)

    shell._process_args = {**shell._process_args, "preexec_fn": tie}
