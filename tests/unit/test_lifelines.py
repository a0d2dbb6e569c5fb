"""A job ends with the Snakemake that started it, however that ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
# As Snakemake does it: the command of a job is started by a thread that waits for it.
WORKFLOW = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from snakemake.shell import shell
from sftflow.lifelines import end_jobs_with_workflow
end_jobs_with_workflow()
shell.executable("bash")
job = threading.Thread(target=shell, args=['echo "$$"; exec sleep 60'])
job.start()
job.join()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_ends_with_its_workflow(number):
    workflow = subprocess.Popen(
        [sys.executable, "-c", WORKFLOW, SCRIPTS], stdout=subprocess.PIPE, text=True
    )
    job = os.pidfd_open(int(workflow.stdout.readline()))
    assert not select.select([job], [], [], 0)[0]
    workflow.send_signal(number)
    workflow.wait()
    assert select.select([job], [], [], 30)[0]  # readable: it has ended
    os.close(job)
