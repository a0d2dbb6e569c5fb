"""What a result was made from: a record per job, and whether the job would make it so again.

The record of a job lies in ``results/.provenance/{rule}/{wildcards}.json`` and goes where
``results/`` goes: it knows nothing of times, hosts or folders outside. It holds the job's
basis (command, params, digests of the files that it read) and the digests of what it left.
A job is stale if its basis differs from the record or if what it left is not there as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sftflow.digests import Digests, files_under
from sftflow.manifests import SUMS, canonical_json, write_json

FOLDER = Path("results/.provenance")
SCHEMA = 1


@dataclass(frozen=True)
class Basis:
    """All that a job's result rests on: command template, params by name, digests of inputs."""

    command: str
    params: Mapping[str, Any]
    inputs: Mapping[str, str | None]


def placeless(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return params whose spec does not say where things lie.

    The param ``places`` names the keys of the spec that are places, e.g. ``suites.*.folder`` or
    ``clean.2.model``; what is there is told by another param, so that a file may be moved and
    nothing is stale. Bounds of requests are named there, too.
    """
    kept = {name: value for name, value in params.items() if name != "places"}
    if params.get("places"):
        spec = json.loads(params["spec"])
        for place in params["places"]:
            _leave_out(spec, place.split("."))
        kept["spec"] = canonical_json(spec)
    return kept


def _leave_out(value: Any, keys: list[str]) -> None:
    if keys[0] == "*":
        for part in value.values() if isinstance(value, dict) else value:
            _leave_out(part, keys[1:])
        return
    key: Any = int(keys[0]) if isinstance(value, list) else keys[0]
    if len(keys) == 1:
        del value[key]
    else:
        _leave_out(value[key], keys[1:])


@dataclass(frozen=True)
class Change:
    """One thing that a job rests on: ``part`` is command, params or inputs."""

    part: str
    name: str
    then: Any
    now: Any


@dataclass
class Verdict:
    """Why a job is stale; empty (false) if its results are what it would make again."""

    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    unknown: bool = False  # there is no record
    changed: list[Change] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Return whether the job is stale."""
        return bool(self.missing or self.damaged or self.unknown or self.changed)


def record_path(rule: str, wildcards: Mapping[str, str]) -> Path:
    """Return the path of a job's record."""
    name = ",".join(f"{k}={v}" for k, v in sorted(wildcards.items())) or "all"
    return FOLDER / rule / f"{name}.json"


def read_record(rule: str, wildcards: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a job's record, None if there is no readable one."""
    try:
        record = json.loads(record_path(rule, wildcards).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if _is_record(record) else None


def _is_record(value: Any) -> bool:
    """Return whether a value has the shape of what ``write_record`` writes."""
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        return False
    basis = value.get("basis")
    maps = [value.get("outputs"), basis]
    maps += [basis.get("params"), basis.get("inputs")] if isinstance(basis, dict) else []
    return all(isinstance(one, dict) for one in maps) and "command" in basis


def _listed(sums: Path) -> dict[str, str]:
    """Return path -> digest of what a SHA256SUMS file vouches for."""
    lines = sums.read_text(encoding="utf-8").splitlines()
    return {
        str(sums.parent / name): digest for digest, _, name in (x.partition("  ") for x in lines)
    }


def left_by(outputs: Iterable[str], digests: Digests) -> dict[str, str | None]:
    """Return path -> digest of every file that a job left: its outputs and what they vouch for.

    Payloads in a ``SHA256SUMS`` among the outputs were digested by the job: not read again.
    """
    found: dict[str, str | None] = {}
    outputs = list(outputs)
    for path in outputs:
        if Path(path).name == SUMS:
            for payload, digest in _listed(Path(path)).items():
                digests.vouch(payload, digest)
                found[payload] = digest
    for path in outputs:
        inside = (
            [str(Path(path, name)) for name in files_under(path)] if Path(path).is_dir() else [path]
        )
        found |= {name: digests.file(name) for name in inside if name not in found}
    return found


def write_record(
    rule: str, wildcards: Mapping[str, str], basis: Basis, outputs: Iterable[str], digests: Digests
) -> None:
    """Write down what a job that has just finished was made from, and what it left."""
    record = {
        "schema": SCHEMA,
        "rule": rule,
        "wildcards": dict(wildcards),
        "basis": asdict(basis),
        "outputs": left_by(outputs, digests),
    }
    write_json(record_path(rule, wildcards), record)


def as_recorded(record: Mapping[str, Any], digests: Digests) -> bool:
    """Return whether all that a job left is there, and as it was."""
    return all(digests.file(path) == digest for path, digest in record["outputs"].items())


def judge(
    record: Mapping[str, Any] | None,
    basis: Basis,
    outputs: Iterable[str],
    digests: Digests,
    undecided: Iterable[str] = (),
) -> Verdict:
    """Return why a job with this basis is stale, if it is.

    ``undecided`` are inputs that an earlier job is going to make again: what they hold now says
    nothing, the job is looked at once more when they are there.
    """
    outputs, undecided = list(outputs), set(undecided)
    verdict = Verdict(missing=[path for path in outputs if not Path(path).exists()])
    if record is None:
        verdict.unknown = not verdict.missing
        return verdict
    for path, digest in record["outputs"].items():
        now = digests.file(path)
        if now is None and path not in verdict.missing:
            verdict.missing.append(path)
        elif now is not None and now != digest:
            verdict.damaged.append(path)
    verdict.changed = changes(record["basis"], basis, undecided)
    return verdict


def changes(recorded: Mapping[str, Any], basis: Basis, undecided: set[str]) -> list[Change]:
    """Return what differs between a recorded basis and the present one."""
    found = []
    if recorded["command"] != basis.command:
        found.append(Change("command", "", recorded["command"], basis.command))
    for part, now in (("params", basis.params), ("inputs", basis.inputs)):
        then = recorded[part]
        for name in dict.fromkeys([*then, *now]):
            asked_again = part == "inputs" and name in undecided and name in then
            if (name in then) != (name in now) or (
                then.get(name) != now.get(name) and not asked_again
            ):
                found.append(Change(part, name, then.get(name), now.get(name)))
    return found
