"""What the doctor asks of Slurm's partitions: that what profiles/slurm asks for fits into them.

Slurm refuses a job that wants more memory or cores than a node has. One that wants more time than
its partition allows it takes, by default, and lets it wait for ever.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sftflow.findings import Finding, fault, ok, warning

# What the profile takes where the environment says nothing, and how often a job is tried.
DEFAULTS = {"CORES": 8, "MEM_MB": 64000, "HOURS": 24}
SERVER_HOURS = 8
ATTEMPTS = 3
CLIENTS_MB = 10_000
FORMAT = "%P|%a|%D|%G|%l|%m|%c"
CLOCK = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")


class Partition(NamedTuple):
    """One partition: GPUs as Slurm words them, the longest job, the largest of its nodes."""

    name: str
    default: bool
    up: bool
    gres: str
    hours: float
    mem_mb: int
    cores: int


def read_partitions(text: str) -> list[Partition]:
    """Return the partitions that `sinfo --format=FORMAT` names, a row for each kind of node."""
    found = []
    for line in text.splitlines():
        if line.count("|") != FORMAT.count("|"):
            continue
        name, state, _, gres, time, memory, cores = line.split("|")
        mem_mb, count = (int(re.sub(r"\D", "", value) or 0) for value in (memory, cores))
        plain = name.rstrip("*")
        found.append(
            Partition(plain, plain != name, state == "up", gres, hours(time), mem_mb, count)
        )
    return found


def hours(limit: str) -> float:
    """Return a time limit of Slurm's in hours: days-hours:minutes:seconds, or "infinite"."""
    found = CLOCK.fullmatch(limit)
    if not found:
        return math.inf
    days, hour, minute, second = (int(part or 0) for part in found.groups())
    return round(24 * days + hour + minute / 60 + second / 3600, 2)


def wanted(name: str) -> float:
    """Return a limit that the profile takes from the environment; 0 where a bound is not set."""
    text = os.environ.get(f"SFTFLOW_SLURM_{name}") or DEFAULTS.get(name, 0)
    try:
        return float(text)
    except ValueError:
        return math.nan


def limit_findings(used: Iterable[Partition]) -> list[Finding]:
    """Say whether the time, memory and cores that the profile asks for are there."""
    used = list(used)
    time = max(partition.hours for partition in used)
    memory = max(partition.mem_mb for partition in used)
    cores = max(partition.cores for partition in used)
    found = [
        _fits("time limit", "HOURS", max(wanted("HOURS"), SERVER_HOURS), time, "h"),
        _fits("memory of a node", "MEM_MB", wanted("MEM_MB"), memory, "MB"),
    ]
    if math.isnan(wanted("CORES")):
        found.append(fault("Slurm", "SFTFLOW_SLURM_CORES is no number", "mend it"))
    elif wanted("CORES") > cores:
        todo = f"export SFTFLOW_SLURM_CORES={cores}"
        found.append(
            fault("Slurm", f"jobs ask for {wanted('CORES'):g} cores, nodes have {cores}", todo)
        )
    return found


def server_room(mem_mb: float) -> float:
    """Return what a stage may ask for where a job has so much memory.

    Those that ask a server are in its job: their memory comes on top, except on small nodes.
    """
    return max(mem_mb - CLIENTS_MB, mem_mb // 2)


def _fits(what: str, name: str, asked: float, there: float, unit: str) -> Finding:
    """Compare what the first and the last attempt of a job ask for with the most there is."""
    room = server_room(there) if name == "MEM_MB" else there
    most = wanted(f"MAX_{name}") or math.inf
    if math.isnan(asked + most):
        said = f"SFTFLOW_SLURM_{name} or SFTFLOW_SLURM_MAX_{name} is no number"
        return fault("Slurm", said, "mend it")
    if not asked:
        return ok("Slurm", "no job says how much memory it needs")
    if name == "MEM_MB" and there <= 1:  # RealMemory, where nobody has set it
        said = f"Slurm counts no memory here, but jobs ask for {asked:g} MB"
        return fault("Slurm", said, "export SFTFLOW_SLURM_MEM_MB=0")
    if math.isinf(there):
        return ok("Slurm", f"no {what}")
    known = f"the largest {what} is {there:.15g} {unit}"
    first, last = min(asked, most), min(ATTEMPTS * asked, most)
    todo = f"export SFTFLOW_SLURM_MAX_{name}={room:.15g}"
    if first > room:
        return fault("Slurm", f"{known}, but jobs ask for {first:.15g} {unit}", todo)
    if last > room:
        return warning(
            "Slurm", f"{known}, but a job's last attempt asks for {last:.15g} {unit}", todo
        )
    return ok("Slurm", known)


def gpus_of(partition: Partition) -> int:
    """Return the counted GPUs of a node, from "gpu:a100:4(S:0-1),gpu:2"; one that has no number."""
    parts = [part.split(":") for part in re.sub(r"\([^)]*\)", "", partition.gres).split(",")]
    counts = [part[-1] for part in parts if part[0] == "gpu"]
    return sum(int(count) if count.isdigit() else 1 for count in counts)


def map_findings(path: Path, asks_gpus: bool, rows: Iterable[Partition]) -> list[Finding]:
    """Say whether the executor can read a map of partitions, and finds one for every job.

    What the map promises, the partitions must have: a job is sent there by the map alone.
    """
    try:
        from snakemake_executor_plugin_slurm.partitions import read_partition_file

        entries = read_partition_file(path)
    except Exception as error:  # the executor's own faults are of many kinds
        said = " ".join(str(error).split())
        return [fault("partitions", f"{path}: {said}", "mend it; docs/cluster.md shows one")]
    found = []
    if not any(_bounded(entry.limits) for entry in entries):
        said = f"{path}: no partition has a max_runtime, so jobs without GPUs find none"
        found.append(fault("partitions", said, "give each its max_runtime"))
    if asks_gpus and not any(entry.limits.max_gpu for entry in entries):
        said = f"{path}: no partition has a max_gpu, so jobs with GPUs find none"
        found.append(fault("partitions", said, "give those with GPUs their max_gpu"))
    return found + [fault for entry in entries for fault in _promises(path, entry, list(rows))]


def _promises(path: Path, entry: Any, rows: list[Partition]) -> list[Finding]:
    """Compare an entry of a map with its partition, if there is one."""
    name, limits = entry.name, entry.limits
    rows = [row for row in rows if row.name == name]
    found, told = [], limits.max_runtime / 60
    longest = max((row.hours for row in rows), default=math.inf)
    if longest < told < math.inf:
        said = f"{path}: {name} is said to take jobs of {told:g} h, but takes {longest:g} h"
        found.append(fault("partitions", said, f"write max_runtime: {int(longest * 60)} (minutes)"))
    if rows and limits.max_gpu and not any(gpus_of(row) for row in rows):
        said = f"{path}: {name} is said to have GPUs, but has none"
        found.append(fault("partitions", said, "write max_gpu: 0"))
    return found


def _bounded(limits: Any) -> bool:
    """Say whether a job without GPUs can be sent there: the executor scores it by its limits."""
    names = ("max_runtime", "max_mem_mb", "max_threads", "max_cpus_per_task")
    return any(getattr(limits, name) != math.inf for name in names)
