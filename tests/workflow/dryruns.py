"""Snakemake's command line for tests: dry runs from a process that has imported it."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import yaml

from staleness.warm import Warm

REPO = Path(__file__).parents[2]


@cache
def warm() -> Warm:
    """Return a process that has imported Snakemake: two of the three seconds of a dry run."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = Warm(Path(folder, "server"), "snakemake.cli")
    atexit.register(made.close)
    return made


def snakemake(*arguments, cwd=REPO, env=None) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).parent / "snakemake"), *map(str, arguments)]
    return warm().run(command, cwd, dict(os.environ if env is None else env))


def planned(*arguments, cwd=REPO) -> Counter:
    """Return how many jobs of each rule a dry run shows."""
    done = snakemake("-n", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.split("Job stats:", 1)[1].split("total", 1)[0].splitlines()[3:]
    return Counter({line.split()[0]: int(line.split()[1]) for line in lines if line.strip()})


def project(folder, edit):
    """Write the default config, edited, with its data into a folder; return the config's path."""
    config = yaml.safe_load((REPO / "config/config.yaml").read_text())
    edit(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for part in ("data", "config"):
        (folder / part).symlink_to(REPO / part)
    return folder / "config.yaml"


def jobs_and_groups(said):
    """Return the jobs of a dry run as "rule wildcards", and its groups of such jobs."""
    jobs, groups = [], []
    for line in said.splitlines():
        if "] Group job " in line:
            groups.append([])
        elif found := re.match(r"( *)rule (\w+):$", line):
            jobs.append(found[2])
            inside = bool(found[1])
            if inside:
                groups[-1].append(found[2])
        elif jobs and (found := re.match(r" +wildcards: (.*)", line)):
            jobs[-1] += "".join(f" {value}" for value in re.findall(r"=([^,\s]+)", found[1]))
            if inside:
                groups[-1][-1] = jobs[-1]
    return set(jobs), sorted(map(set, groups), key=sorted)
