"""Keep what was measured of each tuned model, version by version of its data, settings and code.

reads   summary.csv; runs/{run}/manifest.json; datasets/{dataset}/SHA256SUMS
keeps   log/{model}.jsonl: a line for each version that was measured (versionlog.py), only added to
writes  history.json: {models: {name: {past: [{version, date, reason, metrics}], now: {version,
        reason}}}}, metrics {"group/metric": [value, stderr, n]}, oldest first
spec    models: list of {name, run, datasets: [names], suites and texts: {name: digest}}

The log is read and added to by this stage alone and is no output of it: a rerun must not take away
what can't be made again. Where nothing was measured before, ``past`` is empty, and the same work
leaves the same bytes; a date is only of a version that is past.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sftflow.manifests import SUMS, read_manifest, write_json
from sftflow.stage import StageError, console, run_stage, stage_parser
from sftflow.summary import read_summary
from sftflow.versionlog import MOST_SHOWN, made_from, metrics_of, with_present

SHOWN = ("version", "date", "reason", "metrics")


def rows_tested(folder: Path) -> str | None:
    """Return the digest of the test rows of a dataset's folder."""
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    return known.get("test.parquet")


def made(results: Path, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model rests on; raise StageError naming a manifest that can't be read."""
    path = results / "runs" / model["run"] / "manifest.json"
    try:
        tests = {name: rows_tested(results / "datasets" / name) for name in model["datasets"]}
        return made_from(read_manifest(path), {**model, "tests": tests})
    except KeyError as error:
        raise StageError(f"{path} has no {error}; delete it and rerun") from None
    except ValueError as error:
        raise StageError(str(error)) from None


def main(argv: list[str] | None = None) -> None:
    """Add the present version of each model to its log, and write what came before."""
    args = stage_parser(__doc__, "results", "log_folder", "history").parse_args(argv)
    summary = read_summary(args.results / "summary.csv")
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    said = {}
    for model in args.spec["models"]:
        name = model["name"]
        metrics = metrics_of(row for row in summary if row.model == name)
        log = args.log_folder / f"{name}.jsonl"
        *past, now = with_present(log, made(args.results, model), metrics, date)
        shown = [{key: record[key] for key in SHOWN} for record in past[-MOST_SHOWN:]]
        present = {"version": now["version"], "reason": now["reason"] if past else None}
        said[name] = {"past": shown, "now": present}
        console().say(f"{name}: version {now['version']}, {len(past)} measured before")
    write_json(args.history, {"models": said})


if __name__ == "__main__":
    run_stage(main)
