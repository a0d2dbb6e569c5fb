"""What the doctor asks of Slurm's accounts: that nothing there keeps jobs waiting for ever."""

from __future__ import annotations

import getpass
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping

from sftflow.findings import Finding, fault, ok, warning
from sftflow.slurmlimits import ATTEMPTS, SERVER_HOURS, server_room, wanted
from sftflow.slurmquotas import (
    ASSOCIATION_COLUMNS,
    QOS_COLUMNS,
    Bound,
    Job,
    Row,
    holding,
    own_associations,
    own_qos,
    read_fields,
    read_table,
)

ACCOUNT, QOS = "SBATCH_ACCOUNT", "SBATCH_QOS"
ENFORCED = {"limits", "safe", "all"}
WORDS = {"hours": "h", "cores": "cores", "mem_mb": "MB", "gpus": "GPUs", "nodes": "nodes"}


def account_findings(
    config: str, partitions: Iterable[str], gpus: int = 1, nodes: int = 1
) -> list[Finding]:
    """Say whether the account is the user's, and whether its limits let the largest jobs start.

    ``config`` is what `scontrol show config` says; ``partitions`` are those that the largest jobs
    may go to. Where Slurm keeps no accounts, or enforces no limits, there is nothing to say.
    """
    rows = associations(config)
    account = os.environ.get(ACCOUNT) or default_account()
    found = named_account(rows)
    if found and found[0].todo:
        return found
    shown = read_fields(_said("scontrol", "--oneliner", "show", "partition"))
    places = [row for row in shown if row.get("PartitionName") in set(partitions)]
    known = {}
    if enforced(config):
        known = {row["name"]: row for row in _sacctmgr("qos", QOS_COLUMNS)}
    else:
        rows = []
    told = [limits_of(place, known, rows, account, gpus, nodes) for place in places]
    # A job may go to any of these partitions: one that lets it start is enough.
    return found + min(told, key=len, default=[])


def enforced(config: str) -> bool:
    """Say whether limits of accounts are more than numbers in a table."""
    said = re.search(r"^AccountingStorageEnforce\s*=\s*(\S+)", config, re.MULTILINE)
    return bool(said) and bool(ENFORCED & set(said[1].split(",")))


def associations(config: str) -> list[Row]:
    """Return all associations of this cluster that one may see."""
    name = re.search(r"^ClusterName\s*=\s*(\S+)", config, re.MULTILINE)
    return _sacctmgr("associations", ASSOCIATION_COLUMNS, *([f"cluster={name[1]}"] if name else []))


def default_account() -> str:
    """Return the account of jobs that name none; empty if nobody knows."""
    rows = _sacctmgr("user", ("defaultaccount",), getpass.getuser())
    return rows[0]["defaultaccount"] if rows else ""


def named_account(rows: list[Row]) -> list[Finding]:
    """Say whether the account that the environment names is one of the user's."""
    account, user = os.environ.get(ACCOUNT), getpass.getuser()
    if not account or shutil.which("sacctmgr") is None:
        return []
    known = sorted({row["account"] for row in rows if row["user"] == user})
    if not known:
        return [ok("account", f"{account}; Slurm does not say which accounts you have")]
    if account.lower() in known:  # Slurm keeps them in lower case
        return [ok("account", account)]
    said = f"{ACCOUNT} names {account}, which is not yours"
    return [fault("account", said, f"name one of {', '.join(known)}")]


def limits_of(
    partition: Row,
    known: Mapping[str, Row],
    rows: list[Row],
    account: str,
    gpus: int,
    nodes: int,
) -> list[Finding]:
    """Return what keeps the largest jobs from starting in one partition."""
    chain = own_associations(rows, getpass.getuser(), account.lower(), partition["PartitionName"])
    allowed = chain[0]["qos"].split(",") if chain else []
    named = os.environ.get(QOS)
    if allowed and named and named not in allowed:
        said = f"{QOS} names {named}, which account {account} may not use"
        return [fault("account", said, f"name one of {', '.join(allowed)}")]
    qos = own_qos(named, chain[0]) if chain else ""
    first, last = largest_job(1, gpus, nodes), largest_job(ATTEMPTS, gpus, nodes)
    bounds = holding(qos, partition, known, chain)
    others = [
        name
        for name in allowed
        if name != qos
        and not any(b.breached(first) for b in holding(name, partition, known, chain))
    ]
    return [f for bound in bounds if (f := finding(bound, first, last, others))]


def largest_job(attempt: int, gpus: int, nodes: int) -> Job:
    """Return the most that one job asks for when it is tried so often: a training, a server."""
    most_h, most_mb = (wanted(name) or math.inf for name in ("MAX_HOURS", "MAX_MEM_MB"))
    return Job(
        hours=min(max(wanted("HOURS"), SERVER_HOURS) * attempt, most_h),
        cores=wanted("CORES"),
        mem_mb=min(wanted("MEM_MB") * attempt, most_mb),
        gpus=gpus,
        nodes=nodes,
    )


SMALLEST = Job(hours=0, cores=1, mem_mb=0, gpus=0)


def finding(bound: Bound, first: Job, last: Job, others: list[str]) -> Finding | None:
    """Say what a bound does to the first attempt of the largest job, or the last; None if nothing.

    ``others`` are QOS with which the first would start. A least one concerns the smallest job.
    """
    job = SMALLEST if bound.least else first if bound.breached(first) else last
    if not bound.breached(job) or (bound.least and bound.of == "mem_mb"):
        return None
    side = "least" if bound.least else "most"
    who = "the smallest job" if bound.least else "a job" if job is first else "a job's last attempt"
    said = (
        f"{bound.place} lets a job have {worded(bound.value, bound)} at {side} ({bound.limit}), "
        f"but {who} asks for {worded(bound.asked(job), bound)}: it would wait for ever"
    )
    todo = remedy(bound, job)
    if others:
        todo += f", or export {QOS}={others[0]}"
    return (warning if job is last else fault)("Slurm's limits", said, todo)


def worded(value: float, bound: Bound) -> str:
    """Return a number with what it counts: "1 node", "5760 core-minutes"."""
    word = WORDS[bound.of]
    if bound.minutes:
        return f"{value:.15g} {word.rstrip('s')}-minutes"
    return f"{value:.15g} {word.rstrip('s') if value == 1 else word}"


def remedy(bound: Bound, job: Job) -> str:
    """Return how to ask for no more than a bound allows."""
    if bound.least:
        return "copy profiles/slurm, and name another `qos` under set-resources for stages without"
    if bound.minutes:
        return f"export SFTFLOW_SLURM_MAX_HOURS={bound.value / 60 / getattr(job, bound.of):.3g}"
    if bound.of == "mem_mb":
        return f"export SFTFLOW_SLURM_MAX_MEM_MB={server_room(bound.value):.15g}"
    names = {"hours": "MAX_HOURS", "cores": "CORES"}
    if bound.of in names:
        return f"export SFTFLOW_SLURM_{names[bound.of]}={bound.value:.15g}"
    key = {"gpus": "launch.num_processes, serve.tensor_parallel_size", "nodes": "launch.num_nodes"}
    return f"lower {key[bound.of]}"


def _sacctmgr(what: str, columns: tuple[str, ...], *where: str) -> list[Row]:
    """Return a table of Slurm's accounts; without rows where none are kept or shown."""
    command = ["sacctmgr", "--noheader", "--parsable2", "show", what, *where]
    return read_table(_said(*command, f"format={','.join(columns)}"), columns)


def _said(*command: str) -> str:
    """Return what a command prints; nothing if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout
