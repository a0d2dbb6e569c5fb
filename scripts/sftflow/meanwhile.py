"""What a job rests on while it runs: code and files that somebody edits meanwhile are seen.

A workflow runs for hours, and its params were looked at before its first job. They are looked at
again when a job starts on this machine, and when it has ended. What a job found at its start, and
was still so at its end, is what it was made from; of what has changed in between nobody knows
which state the job has read: its record says so, and the job is stale.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from sftflow.codegraph import FOUND_ONCE, SCRIPTS, code_digest, split_digests, stage_of
from sftflow.digests import stamps
from sftflow.provenance import placeless

CHANGED = "changed while the job ran"
# The files of code and their stamps at the last look.
_seen: dict[str, list[int]] = {}


def present_digests(code: str) -> str:
    """Return the code digests of the same stages by the files as they are now."""
    _look_again()
    stages = [(digest, stage_of(digest)) for digest in split_digests(code)]
    return "".join(code_digest(stage) if stage else digest for digest, stage in stages)


def _look_again() -> None:
    """Forget what was found of the files of code if one has changed since the last look."""
    now = {}
    for place in (SCRIPTS, *(SCRIPTS / name for name in ("sftflow", "lists", "templates"))):
        with os.scandir(place) as found:
            now |= {file.path: stamps(file.stat()) for file in found if file.is_file()}
    if now != _seen:
        _seen.clear()
        _seen.update(now)
        for found_once in FOUND_ONCE:
            found_once.cache_clear()


def told_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return params as a record has them: plain JSON, without places."""
    return placeless(json.loads(json.dumps(dict(params.items()), default=str)))


def present_params(job: Any) -> dict[str, Any] | None:
    """Return what a job's params would be if it were planned now; None if they can't be told."""
    try:
        params, _ = job.rule.expand_params(job.wildcards_dict, job.input, job.output, job)
        found = told_params(params)
        if "code" in found:
            found["code"] = present_digests(found["code"])
    except (Exception, SystemExit):  # a file that they read is gone, or is no Python just now
        return None
    return found


def settled_params(then: Mapping[str, Any], now: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the params of a job's start, with a mark for each that is not so at its end."""
    if now is None:
        return dict.fromkeys(then, CHANGED)
    return {name: value if now.get(name) == value else CHANGED for name, value in then.items()}
