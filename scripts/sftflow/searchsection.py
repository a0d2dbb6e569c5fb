"""The page's part about searches and sweeps: every trial in a table, and a plot of all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.figures import plain
from sftflow.measured import read_object
from sftflow.parallelplot import parallel_coordinates
from sftflow.stage import StageError

MOST_TRIALS = 100  # rows of a table and lines of a plot, the best first
FEWEST_LINES = 2

Manifests = Mapping[str, Mapping[str, Any]]  # folder under results -> manifest


def search_section(
    results: Path, spec: Mapping[str, Any], known: Manifests, judged: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, dict]]:
    """Return what the page says of each search and each sweep, and the plots by id."""
    found = [
        search_of(results, name)
        for name, run in spec["runs"].items()
        if run.get("search") is not None
    ]
    found += [
        sweep_of(name, runs, spec["runs"], known, judged) for name, runs in spec["sweeps"].items()
    ]
    said, drawn = [], {}
    for number, one in enumerate((one for one in found if one["rows"]), start=1):
        id_ = f"plot-search-{number}" if len(one["rows"]) >= FEWEST_LINES else None
        if id_ is not None:
            drawn[id_] = parallel_coordinates(ranked(one["rows"])[:MOST_TRIALS], one["space"])
        said.append({**told(one), "plot": id_})
    return said, drawn


def search_of(results: Path, run: str) -> dict[str, Any]:
    """Return the trials of a run's search.json; no rows if there is none yet."""
    path = results / "runs" / run / "search.json"
    empty = {"name": run, "kind": "search", "sampler": None, "space": {}, "rows": []}
    if not path.exists():
        return empty
    said = read_object(path)
    if not said.keys() >= {"sampler", "space", "best", "trials"}:
        raise StageError(f"{path} does not have the shape of list_trials; delete it and rerun")
    rows = [
        {
            "name": str(trial["trial"]),
            "settings": trial["settings"],
            "loss": trial["loss"],
            "verdicts": [badge(v["name"], v["sentence"]) for v in trial["verdicts"]],
            "steps": trial["steps"],
            "seconds": trial["seconds"],
            "best": trial["trial"] == said["best"],
        }
        for trial in said["trials"]
    ]
    return {**empty, "sampler": said["sampler"], "space": said["space"], "rows": rows}


def sweep_of(
    name: str,
    runs: Sequence[str],
    settings: Mapping[str, Any],
    known: Manifests,
    judged: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the runs of a sweep that have been trained, in the shape of trials."""
    rows = []
    for run in runs:
        counts = known.get(f"runs/{run}", {}).get("counts")
        if counts is None:
            continue
        swept = {key: value for key, (value,) in settings[run]["sweep"].items()}
        verdicts = judged.get(run, {}).get("verdicts", [])
        rows.append(
            {
                "name": run,
                "settings": swept,
                "loss": counts.get("averaged_eval_loss", counts.get("best_eval_loss")),
                "verdicts": [badge(v["name"], v["sentence"]) for v in verdicts],
                "steps": counts.get("steps"),
                "seconds": None,
                "best": False,
            }
        )
    rows = [row for row in rows if row["loss"] is not None]
    if rows:
        min(rows, key=lambda row: row["loss"])["best"] = True
    space = {key: {"choices": _choices(rows, key)} for key in (rows[0]["settings"] if rows else {})}
    return {"name": name, "kind": "sweep", "sampler": None, "space": space, "rows": rows}


def _choices(rows: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """Return the values of a key, numbers by size, others as they come."""
    values: list[Any] = []
    for row in rows:
        if row["settings"][key] not in values:
            values.append(row["settings"][key])
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return sorted(values) if numbers else values


def badge(name: str, sentence: str) -> dict[str, str]:
    """Return a verdict as the page shows it."""
    way = "better" if name == "healthy" else "worse"
    return {"name": name.replace("_", " "), "way": way, "sentence": sentence}


def ranked(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return trials by their loss, those without one last."""
    return sorted(rows, key=lambda row: math.inf if row["loss"] is None else row["loss"])


def told(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template takes of a search or sweep, the lowest loss first."""
    keys = list(one["space"])
    rows = [
        {**row, "values": [plain(row["settings"][key]) for key in keys]}
        for row in ranked(one["rows"])
    ]
    seconds = [row["seconds"] for row in rows if row["seconds"] is not None]
    return {
        **{key: one[key] for key in ("name", "kind", "sampler")},
        "keys": keys,
        "rows": rows[:MOST_TRIALS],
        "count": len(rows),
        "left_out": len(rows[MOST_TRIALS:]),
        "diverged": sum(row["loss"] is None for row in rows),
        "timed": bool(seconds),
        "seconds": math.fsum(seconds),
        "best": next((row for row in rows if row["best"]), None),
    }
