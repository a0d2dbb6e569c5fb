"""Say what would run now, why, and what it would cost: `python scripts/why.py [snakemake options]`.

Every option is handed to `snakemake --dry-run`, whose plan this explains: --configfile,
--directory, a target. Costs are the durations of each job's last run (results/benchmarks/), of
the same rule's other jobs where it has not run yet.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ingest_source import ingest
from sftflow.jobs import project_path
from sftflow.rowchanges import Collected, row_changes, rows_then
from sftflow.scratch import scratch_folder
from sftflow.stage import StageError

LARGEST_BYTES = 200 << 20  # of raw files that are read again to tell which rows have changed


def planned(arguments: list[str]) -> dict[str, Any]:
    """Return the plan of a dry run, as cutoff.py writes it; exit with Snakemake's own words."""
    with scratch_folder() as folder:
        path = folder / "plan.json"
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--dry-run", "--quiet=all", *arguments],
            env={**os.environ, "SFTFLOW_PLAN": str(path)},
            capture_output=True,
            text=True,
        )
        if done.returncode or not path.exists():
            sys.exit((done.stderr or done.stdout).strip() or "snakemake --dry-run failed")
        return json.loads(path.read_text(encoding="utf-8"))


def rows_of(job: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """Return which rows of a job's raw files have changed; [] if that is not to be found out."""
    if job["rule"] != "ingest_source" or "raw" not in job["changed"]:
        return []
    work = Path(plan["directory"])
    folder = work / "results/sources" / job["wildcards"]["source"]
    os.environ["SFTFLOW_ROOT"] = plan["root"]
    spec = json.loads(job["spec"])
    spec["path"] = [str(project_path(path)) for path in spec["path"]]
    if sum(Path(p).stat().st_size for p in spec["path"] if Path(p).is_file()) > LARGEST_BYTES:
        return []
    kept, refused = Collected(), Collected()
    try:
        then = rows_then(folder)
        ingest(spec, kept, refused)
    except (OSError, StageError) as error:
        return [str(error)]
    return row_changes(then, dict(sorted({**kept.rows, **refused.rows}.items())))


def duration(seconds: float | None) -> str:
    """Return seconds as a person says them; ? if nobody knows."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def table(jobs: Iterable[Mapping[str, Any]], title: str, plan: Mapping[str, Any]) -> Table:
    """Return jobs, reasons and last durations as a table."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    shown.add_column("job", no_wrap=True)
    shown.add_column("because", overflow="fold")
    shown.add_column("last took", justify="right", no_wrap=True)
    for job in jobs:
        why = [*rows_of(job, plan), *job["reasons"]]
        shown.add_row(job["name"], "\n".join(why), duration(job["seconds"]))
    return shown


def cost(jobs: Iterable[Mapping[str, Any]]) -> str:
    """Return the sum of the jobs' last durations; those that share a server run side by side."""
    jobs = list(jobs)
    known: dict[str, float] = {}
    for job in jobs:
        if job["seconds"] is not None:
            part = job["server"] or job["name"]
            known[part] = max(known.get(part, 0.0), job["seconds"])
    unknown = sum(job["seconds"] is None for job in jobs)
    said = duration(sum(known.values())) if known or not jobs else "?"
    return said + (f" and {unknown} that never ran" if unknown and known else "")


def main(arguments: list[str]) -> None:
    """Explain the plan."""
    # What has changed may hold any text: [/INST] is no markup and :tada: stands for itself.
    console = Console(width=None if sys.stdout.isatty() else 120, markup=False, emoji=False)
    plan = planned(arguments)
    runs = [job for job in plan["jobs"] if job["sure"]]
    may = [job for job in plan["jobs"] if not job["sure"]]
    if not plan["jobs"]:
        console.print("Nothing would run: every result is what it would become again.")
        return
    if runs:
        console.print(table(runs, f"{len(runs)} jobs run", plan), "")
    if may:
        title = f"{len(may)} more run if what they read comes out differently"
        console.print(table(may, title, plan), "")
    console.print(f"Going by last times: at least {cost(runs)}, at most {cost(plan['jobs'])}")


if __name__ == "__main__":
    main(sys.argv[1:])
