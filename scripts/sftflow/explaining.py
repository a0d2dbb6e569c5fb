"""The plan with its reasons and costs, as why.py tells it."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftflow.dagjobs import describe, is_service, wildcards_of
from sftflow.provenance import Verdict
from sftflow.reasons import told, told_missing


def explained(dag: Any, verdicts: Mapping[Any, Verdict]) -> dict[str, Any]:
    """Return the plan with its reasons, in an order in which the jobs can run (for why.py).

    A job is sure to run if it has a reason of its own; a server, if one that asks it is.
    """
    jobs: list[dict[str, Any]] = []
    for level in dag.toposorted():
        for job in sorted(level, key=describe):
            if not dag.needrun(job) or job.is_norun or is_service(job):
                continue
            verdict, forced = verdicts[job], dag.reason(job).forced
            said = [*told_missing(verdict.missing, map(str, job.output)), *told(verdict)]
            above = {d for d in dag.dependencies[job] if dag.needrun(d) and not is_service(d)}
            jobs.append(
                {
                    "name": describe(job),
                    "rule": job.rule.name,
                    "wildcards": wildcards_of(job),
                    "sure": bool(verdict) or forced,
                    "reasons": said or (["forced"] if forced else [after(above)]),
                    "changed": [change.name for change in verdict.changed],
                    "spec": job.params.get("spec"),
                    "seconds": last_seconds(job),
                    "server": next(
                        (describe(d) for d in dag.dependencies[job] if is_service(d)), None
                    ),
                }
            )
    return {"directory": str(Path.cwd()), "root": os.environ["SFTFLOW_ROOT"], "jobs": jobs}


def after(jobs: set) -> str:
    """Return the clause about jobs whose results may differ."""
    names = sorted(map(describe, jobs))
    more = f" and {len(names) - 3} more" if len(names) > 4 else ""
    return f"after {', '.join(names if not more else names[:3])}{more}"


def last_seconds(job: Any) -> float | None:
    """Return how long a job took last, or its rule's jobs on average; None if none has run."""
    own = Path(str(job.benchmark))
    paths = [own] if own.exists() else sorted(own.parent.glob("*.tsv"))
    found = []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            found += [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]
    return sum(found) / len(found) if found else None
