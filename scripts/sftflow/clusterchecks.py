"""What the doctor asks of a Slurm cluster: that it answers, and has what the profile names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sftflow.configfile import ConfigFault, read_yaml
from sftflow.findings import FAULT, Finding, fault, ok, warning
from sftflow.slurmaccounts import account_findings
from sftflow.slurmjobs import keeps_accounts
from sftflow.slurmlimits import (
    FORMAT,
    Partition,
    gpus_of,
    limit_findings,
    map_findings,
    read_partitions,
)

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
# The executor asks squeue about ended jobs; three of its intervals (profiles/slurm).
LEAST_JOB_AGE_S = 45
MAP = "SNAKEMAKE_SLURM_PARTITIONS"
PARTITION, GPUS = "SBATCH_PARTITION", "SFTFLOW_SLURM_GPUS"


def cluster_findings(launches: Sequence[tuple[int, int]] = ((1, 1),)) -> list[Finding]:
    """Return what can be said of Slurm; where there is none, that.

    ``launches`` are GPUs and nodes of each job that wants any.
    """
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if len(missing) == len(COMMANDS):
        return [ok("Slurm", "none here: jobs run on this machine")]
    if missing:
        todo = "load the cluster's module for Slurm, or go to a login node"
        return [fault("Slurm", f"{missing[0]} is not on the PATH", todo)]
    answered, text = told("scontrol", "ping")
    if not answered or " UP" not in text:
        todo = "ask the cluster's administrators; `scontrol ping` must say UP"
        return [munge(), fault("Slurm", f"the controller does not answer: {text}", todo)]
    config = told("scontrol", "show", "config")[1]
    return [munge(config), settings(config), *partitions(config, launches)]


def told(*command: str) -> tuple[bool, str]:
    """Return whether a command succeeded, and what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"{command[0]}: {error}"
    return done.returncode == 0, (done.stdout.strip() or done.stderr.strip())


def munge(config: str = "") -> Finding:
    """Say whether munge, by which Slurm knows its users, works here, at the place Slurm names."""
    if shutil.which("munge") is None:
        return ok("munge", "not on the PATH; Slurm may use another way to know its users")
    place = re.search(r"^AuthInfo\s*=.*\bsocket=([^,\s]+)", config, re.MULTILINE)
    made, text = told("munge", "--no-input", *([f"--socket={place[1]}"] if place else []))
    if not made:
        return fault("munge", text or "it fails", "have munged started on this machine")
    return ok("munge", "it makes credentials")


def settings(text: str) -> Finding:
    """Say whether ended jobs are remembered long enough to be asked about."""
    age = re.search(r"^MinJobAge\s*=\s*(\d+)", text, re.MULTILINE)
    version = re.search(r"^SLURM_VERSION\s*=\s*(\S+)", text, re.MULTILINE)
    said = f"version {version[1] if version else '?'}"
    if age and int(age[1]) < LEAST_JOB_AGE_S and not keeps_accounts(text):
        return warning(
            "Slurm",
            f"{said}; ended jobs are forgotten after {age[1]} s and no accounts are kept: that a "
            "job was killed is noticed some minutes later",
            f"have MinJobAge set to {LEAST_JOB_AGE_S} s or more",
        )
    return ok("Slurm", f"{said}, the controller answers")


def partitions(config: str, launches: Sequence[tuple[int, int]]) -> list[Finding]:
    """Say which partitions there are, and whether what the profile asks for fits into them."""
    rows = read_partitions(told("sinfo", "--noheader", f"--format={FORMAT}")[1])
    rows = [row for row in rows if row.up]
    there = {row.name for row in rows}
    if not there:
        return [fault("partitions", "none is up", "look at `sinfo`")]
    wanted, asks_gpus = wanted_partitions(), os.environ.get(GPUS) != "0"
    found = [named_partition(name, source, there) for source, name in wanted.items()]
    if os.environ.get(MAP):
        found += map_findings(Path(os.environ[MAP]), asks_gpus, rows)
    names = {part for value in wanted.values() for part in value.split(",")}
    used = [row for row in rows if row.name in names or (row.default and not wanted)] or rows
    if not wanted:
        found.insert(0, default_partition(rows))
    if any(finding.level == FAULT for finding in found):
        used = rows  # where jobs go to is not known then
    # Trainings and servers go where the GPUs are, and these ask for most.
    mapped = mapped_gpu_partitions()
    largest = [
        row for row in used if asks_gpus and gpus_of(row) and (mapped is None or row.name in mapped)
    ] or used
    names = {row.name for row in largest}
    on_node = max(gpus / nodes for gpus, nodes in launches)
    found += [*limit_findings(largest), cluster_gpus(rows, used, on_node)]
    gpus, nodes = (max(counts) for counts in zip(*launches, strict=True))
    return found + account_findings(config, names, gpus if asks_gpus else 0, nodes)


def wanted_partitions() -> dict[str, str]:
    """Return where a partition is named -> its name; a map that can't be read names none."""
    wanted = {PARTITION: os.environ[PARTITION]} if os.environ.get(PARTITION) else {}
    if os.environ.get(MAP):
        path = Path(os.environ[MAP])
        with suppress(ConfigFault, KeyError, TypeError):  # map_findings says what is wrong
            wanted |= {f"{path}: {name}": name for name in read_yaml(path)["partitions"]}
    return wanted


def mapped_gpu_partitions() -> set[str] | None:
    """Return the partitions to which a map sends jobs with GPUs; None without a map in order."""
    if os.environ.get(MAP):
        with suppress(ConfigFault, KeyError, TypeError, AttributeError):
            entries = read_yaml(Path(os.environ[MAP]))["partitions"]
            return {name for name, limits in entries.items() if limits.get("max_gpu")}
    return None


def named_partition(name: str, source: str, there: set[str]) -> Finding:
    """Say whether a partition that somebody named is there and up."""
    if set(name.split(",")) <= there:
        return ok("partitions", f"{name} ({source})")
    todo = f"name one of {', '.join(sorted(there))}"
    return fault("partitions", f"{source} names {name}, which is not up", todo)


def default_partition(rows: list[Partition]) -> Finding:
    """Say which partition jobs go to that name none."""
    default = next((row.name for row in rows if row.default), None)
    if default:
        return ok("partitions", f"{default}, the cluster's default")
    return fault("partitions", "there is no default one", f"export {PARTITION} or {MAP}")


def cluster_gpus(rows: list[Partition], used: list[Partition], on_node: float) -> Finding:
    """Say whether nodes have GPUs, where jobs go to, and as many as a job asks for on each."""
    having = sorted({row.name for row in rows if gpus_of(row)})
    asks = os.environ.get(GPUS) != "0"
    if asks and not having:
        todo = f"export {GPUS}=0, or jobs will wait for GPUs for ever"
        return fault("Slurm's GPUs", "no node has any", todo)
    if having and not asks:
        todo = f"unset {GPUS} to use them"
        return warning("Slurm's GPUs", f"nodes have some, but {GPUS} is 0", todo)
    if asks and not any(gpus_of(row) for row in used):
        places = " and ".join(sorted({row.name for row in used}))
        said = f"jobs go to {places}, without any; {', '.join(having)} has some"
        return fault("Slurm's GPUs", said, f"export {PARTITION}={','.join(having)}, or {MAP}")
    most = max(gpus_of(row) for row in used)
    if asks and on_node > most:
        todo = "raise launch.num_nodes, or lower launch.num_processes, serve.tensor_parallel_size"
        said = f"a job asks for {on_node:g} on a node, which has {most}"
        return fault("Slurm's GPUs", said, todo)
    return ok("Slurm's GPUs", "nodes have some" if having else "none, and none are asked for")
