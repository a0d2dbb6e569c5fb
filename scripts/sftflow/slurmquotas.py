"""Limits of QOS, associations and partitions that a job of this workflow would never get below.

By default Slurm takes such a job and lets it wait for ever (QOSMaxWallDurationPerJobLimit,
AssocGrpGRES and so on). A limit of all jobs together counts only if one job alone is above it;
below it jobs wait for their turn.

What stands first holds, for each limit (https://slurm.schedmd.com/resource_limits.html): the
partition's QOS, the job's, the user's association, those of its accounts up to the root. What
`scontrol show partition` says holds besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sftflow.slurmlimits import hours, server_room

QOS_COLUMNS = (
    *("name", "flags", "maxwall", "maxtres", "maxtrespu", "maxtrespa", "grptres"),
    *("maxtresmins", "grptresmins", "mintres"),
)
ASSOCIATION_COLUMNS = (
    *("account", "user", "partition", "parentname", "qos", "defaultqos", "maxwall", "maxtres"),
    *("grptres", "maxtresmins", "grptresmins"),
)
# As Slurm's documents write them.
WORDED = {
    "maxwall": "MaxWall",
    "maxtres": "MaxTRES",
    "maxtrespu": "MaxTRESPU",
    "maxtrespa": "MaxTRESPA",
    "grptres": "GrpTRES",
    "maxtresmins": "MaxTRESMins",
    "grptresmins": "GrpTRESMins",
    "mintres": "MinTRES",
}
UNITS = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2, "P": 1024**3}
COUNTED = {"cpu": "cores", "mem": "mem_mb", "gres/gpu": "gpus", "node": "nodes"}
Row = Mapping[str, str]


class Job(NamedTuple):
    """What one job asks for; those that ask a server want their memory on top."""

    hours: float
    cores: int
    mem_mb: int
    gpus: int
    nodes: int = 1


class Bound(NamedTuple):
    """The most (``least`` if so said) that a job may ask for: ``of`` is a field of Job.

    ``minutes`` bounds the field times the job's minutes.
    """

    place: str
    limit: str
    of: str
    value: float
    minutes: bool = False
    least: bool = False

    def breached(self, job: Job) -> bool:
        """Say whether a job is out of bounds."""
        asked = self.asked(job)
        if self.least:
            return asked < self.value
        whole_memory = self.of == "mem_mb" and not self.minutes
        return asked > (server_room(self.value) if whole_memory else self.value)

    def asked(self, job: Job) -> float:
        """Return what a job asks of what is bounded."""
        return getattr(job, self.of) * (60 * job.hours if self.minutes else 1)


def read_table(text: str, columns: tuple[str, ...]) -> list[Row]:
    """Return the rows of `sacctmgr --noheader --parsable2 show ... format=columns`."""
    lines = [line.split("|") for line in text.splitlines()]
    return [dict(zip(columns, line, strict=True)) for line in lines if len(line) == len(columns)]


def read_fields(text: str) -> list[Row]:
    """Return the rows of `scontrol --oneliner show ...`, by field."""
    return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in text.splitlines()]


def counts(tres: str) -> Iterator[tuple[str, float]]:
    """Yield field of Job and number of what "cpu=8,gres/gpu=2,mem=64G" counts; megabytes."""
    for part in filter(None, tres.split(",")):
        name, _, said = part.partition("=")
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)", said)
        if name in COUNTED and found:
            unit = UNITS.get(found[2], 1) if name == "mem" else 1
            yield COUNTED[name], float(found[1]) * unit


def bounds_of(row: Row, place: str) -> Iterator[Bound]:
    """Yield what a QOS or an association bounds."""
    if row["maxwall"]:
        yield Bound(place, WORDED["maxwall"], "hours", hours(row["maxwall"]))
    for column, limit in WORDED.items():
        if column == "maxwall" or column not in row:
            continue
        minutes = column.endswith("mins")
        for of, value in counts(row[column]):
            yield Bound(place, limit, of, value, minutes, least=column == "mintres")


def partition_bounds(row: Row) -> Iterator[Bound]:
    """Yield what a partition bounds beside the time."""
    limits = {"MaxMemPerNode": "mem_mb", "MaxCPUsPerNode": "cores", "MaxNodes": "nodes"}
    for limit, of in limits.items():
        if row.get(limit, "").isdigit():
            yield Bound(f"partition {row['PartitionName']}", limit, of, float(row[limit]))


def first_of_each(ordered: Iterable[Bound]) -> list[Bound]:
    """Return the bounds that hold: of each limit the one that stands first."""
    found: dict[tuple[str, str], Bound] = {}
    for bound in ordered:
        # Of accounts above each other every group limit holds; the least of them is enough.
        key = (bound.limit, bound.of)
        before = found.setdefault(key, bound)
        both_accounts = before.place.startswith("account") and bound.place.startswith("account")
        if both_accounts and bound.limit.startswith("Grp") and bound.value < before.value:
            found[key] = bound
    return list(found.values())


def holding(
    qos: str, partition: Row, table: Mapping[str, Row], associations: list[Row]
) -> list[Bound]:
    """Return what bounds a job of a QOS in a partition: ``associations`` go up from the user's."""
    order = [partition.get("QoS", "N/A"), qos]
    if "OverPartQOS" in table.get(qos, {}).get("flags", "").split(","):
        order.reverse()
    bounds = [b for name in order if name in table for b in bounds_of(table[name], f"QOS {name}")]
    for row in associations:
        found = bounds_of(row, f"account {row['account']}")
        # sacctmgr shows what a user inherits of all limits but those of groups.
        bounds += [b for b in found if row["user"] or b.limit.startswith("Grp")]
    return [*first_of_each(bounds), *partition_bounds(partition)]


def own_associations(rows: list[Row], user: str, account: str, partition: str) -> list[Row]:
    """Return a user's association, one for the partition before one for all, and those above it."""
    mine = [row for row in rows if (row["user"], row["account"]) == (user, account)]
    mine = [row for row in mine if row["partition"] in ("", partition)]
    chain = sorted(mine, key=lambda row: row["partition"], reverse=True)[:1]
    above = {row["account"]: row for row in rows if not row["user"]}
    name = account
    while chain and name in above:
        row = above.pop(name)
        chain.append(row)
        name = row["parentname"]
    return chain


def own_qos(wanted: str | None, association: Row) -> str:
    """Return the QOS that a job gets which names this one, or none."""
    allowed = association["qos"].split(",")
    only = allowed[0] if len(allowed) == 1 else ""
    return wanted or association["defaultqos"] or only or "normal"
