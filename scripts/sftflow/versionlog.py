"""What was measured of a model before, version by version: an append-only log of lines of JSON.

    {version, date, reason, made: {...}, metrics: {"group/metric": [value, stderr, n]}}

``made`` is what the model and its measurement rest on, and ``version`` a digest of it, so that the
same work has the same version wherever it is done. A log is no result of a job: nothing is stale
because of it, and nothing that is made again takes it away.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sftflow.direction import direction
from sftflow.manifests import canonical_json, sha256_json, write_text
from sftflow.settingchanges import setting_changes, shortened
from sftflow.summary import Measurement

#: Lines of one log; the oldest go. A line is 2 to 8 kB.
MOST_LINES = 500
#: Measures of one line, and versions before the present one that are shown.
MOST_METRICS = 80
MOST_SHOWN = 30
#: What a model is measured by, and what that is called: with another, figures are of other things.
MEASURED_BY = {"tests": "test rows of", "suites": "questions of", "texts": "words of text"}
#: Of latency only the fit; the grid would fill the log with noise.
LATENCY = ("fit.b_ms", "fit.k_ms_per_token")

Record = dict[str, Any]
logger = logging.getLogger("sftflow")


def made_from(run: Mapping[str, Any], asked: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a model and its measures rest on, from its run's manifest.

    ``asked`` has digests by name of what it is measured by: tests (rows), suites and texts.
    """
    settings = {key: value for key, value in run["settings"].items() if key != "run"}
    data = {name: digest for name, digest in run["inputs"].items() if name != "model"}
    weights = {name: said["sha256"] for name, said in run["outputs"].items()}
    return {
        "settings": settings,
        "base": {key: run["base"][key] for key in ("name", "sha256")},
        "dataset": run["dataset"],
        "rows": run["counts"].get("rows"),
        "data": sha256_json(data),
        "weights": sha256_json(weights),
        "versions": run["versions"],
        **{kind: dict(asked[kind]) for kind in MEASURED_BY},
    }


def metrics_of(rows: Iterable[Measurement]) -> dict[str, list[float | int | None]]:
    """Return the measures of a model worth following: those that can be better, and the fit."""
    kept = {}
    for row in rows:
        if row.value is None or ".json_fields." in row.metric:
            continue
        better = direction(row.group, row.metric)
        wanted = row.metric in LATENCY if row.group == "latency" else better
        if wanted and len(kept) < MOST_METRICS:
            kept[f"{row.group}/{row.metric}"] = [row.value, row.stderr, row.n]
    return kept


def reason(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """Say in a few clauses what is other than in the version before."""
    if then is None:
        return "first measured"
    said = shortened(list(setting_changes(then["settings"], now["settings"])))
    if then["dataset"] != now["dataset"]:
        said.append(f"dataset: {then['dataset']} -> {now['dataset']}")
    if then["base"] != now["base"]:
        names = then["base"]["name"], now["base"]["name"]
        same = "the start model's weights"
        said.append(same if names[0] == names[1] else "base: {} -> {}".format(*names))
    if then["data"] != now["data"]:
        rows = then["rows"], now["rows"]
        other = "other training rows"
        said.append(other if rows[0] == rows[1] else "training rows: {} -> {}".format(*rows))
    for kind, called in MEASURED_BY.items():
        before = then.get(kind, {})
        for name, digest in now[kind].items():
            if before.get(name) != digest:
                said.append(f"{called} {name} {'are new' if name not in before else 'changed'}")
    said += shortened([f"package {c}" for c in setting_changes(then["versions"], now["versions"])])
    return "; ".join(said) or "other code"


def read_log(path: Path) -> tuple[list[str], list[Record]]:
    """Return the lines of a log and the records in them; a line that is none stays where it is."""
    if not path.exists():
        return [], []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            record["version"], record["date"], record["reason"]
            record["made"]["settings"], record["metrics"].items()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            logger.warning("%s, line %d is no record of a version and is not shown", path, number)
            continue
        records.append(record)
    return lines, records


def with_present(
    path: Path, made: Mapping[str, Any], metrics: Mapping[str, Any], date: str
) -> list[Record]:
    """Return a model's versions, oldest first, after the present one was added to its log.

    Nothing is added if the last line says the same. What was measured again of a version takes the
    place of what was measured before, in what is returned.
    """
    lines, records = read_log(path)
    made, metrics = json.loads(canonical_json([made, metrics]))
    version = sha256_json(made)[:8]
    last = records[-1] if records else None
    if last is None or (last["version"], last["metrics"]) != (version, metrics):
        same = last is not None and last["version"] == version
        why = last["reason"] if same else reason(last and last["made"], made)
        record = {"version": version, "date": date, "reason": why, "made": made, "metrics": metrics}
        lines = [*lines, canonical_json(record)][-MOST_LINES:]
        write_text(path, "".join(f"{line}\n" for line in lines))
        records.append(record)
    found: list[Record] = []
    for record in records:
        if found and found[-1]["version"] == record["version"]:
            found.pop()
        found.append(record)
    return found
