"""How jobs are given to Slurm: by planted commands, for a Slurm is not everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from small_config import SMALL

REPO = Path(__file__).parents[2]
TOLD = 'printf "%s\\n" "$*" "account: $SBATCH_ACCOUNT" >>"$(dirname "$0")/asked"'
COMMANDS = {
    "sinfo": 'cd "$(dirname "$0")"; mkdir seen 2>/dev/null && exit 1; echo "PARTITION long*"',
    "squeue": "exit 1",
    "scontrol": "exit 1",
    "sbatch": f'{TOLD}; echo "sbatch: error: no such account" >&2; exit 1',
    # A cluster that keeps no accounts.
    "sacct": "exit 1",
    "sacctmgr": "exit 1",
    "sshare": "exit 1",
}


def test_what_goes_wrong_at_a_submission_ends_the_job_and_is_told(tmp_path):
    """First the controller is silent, of which the executor alone would lose the job.

    Then sbatch refuses. It is asked for no account: it reads SBATCH_ACCOUNT by itself.
    """
    for name, script in COMMANDS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "rows.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    (tmp_path / "config.yaml").write_text(SMALL)
    command = [Path(sys.executable).parent / "snakemake", "--profile", "profiles/slurm"]
    command += ["--directory", tmp_path / "work", "--configfile", tmp_path / "config.yaml"]
    command += ["--retries", "1", "results/sources/mine/manifest.json"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SBATCH_", "SFTFLOW_"))}
    done = subprocess.run(
        command,
        cwd=REPO,
        env=kept | {"SBATCH_ACCOUNT": "lab", "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said
    assert "The job could not be given to Slurm: Failed to run sinfo" in said
    assert "no such account" in said
    asked = (tmp_path / "asked").read_text()
    assert asked.count("account: lab") == 1 and " -A " not in asked and "guess" not in said
    assert "--job-name sftflow_" in asked and "-p long" in asked
    assert "-t 240 --mem 16000" in asked and "--gpus" not in asked  # the second attempt
