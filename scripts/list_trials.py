"""Say of every trial of a search what it was, what came of it and how long it took.

reads   trial.json and trained/ of every trial
writes  search.json: {run, sampler, space: {key: dimension}, best: number, trials: [{trial, round,
        settings, loss, diverged, verdicts: [{name, sentence}], steps, seconds}]}
spec    run, sampler, space; rounds: {number: round}

--times is {number: seconds that it took, or null}; no part of --spec, for nothing rests on it.
Apart from choose_trial, so that another way of judging touches no model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sftflow.course import read_course
from sftflow.diagnosis import verdicts
from sftflow.manifests import read_manifest, write_json
from sftflow.signs import Run
from sftflow.stage import run_stage, stage_parser
from sftflow.trials import best_trial, read_trial


def told(path: Path, spec: dict[str, Any], times: dict[str, float | None]) -> dict[str, Any]:
    """Return what is said of the trial of a trial.json; ``times`` in seconds."""
    trial = read_trial(path)
    number = str(trial.pop("trial"))
    trial.pop("run")
    said = {
        **trial,
        "trial": int(number),
        "round": spec["rounds"][number],
        "seconds": times[number],
        "steps": None,
        "verdicts": [{"name": "diverged", "sentence": trial["diverged"]}],
    }
    if trial["diverged"] is None:
        manifest = read_manifest(path.parent / "trained/manifest.json")
        settings, counts = manifest["settings"], manifest["counts"]
        run = Run(
            course=read_course(path.parent / "trained/history.csv"),
            training=settings["training"],
            method=settings["method"],
            ordered="order" in settings,
            kept_step=counts["kept_step"],
        )
        said["steps"] = counts["steps"]
        said["verdicts"] = [{"name": v.name, "sentence": v.sentence} for v in verdicts(run)]
    return said


def main(argv: list[str] | None = None) -> None:
    """Read every trial and write the table."""
    parser = stage_parser(__doc__, "search")
    parser.add_argument("--trials", type=Path, nargs="+", required=True, help="trial.json of each")
    parser.add_argument("--times", type=json.loads, required=True, help="seconds of each; JSON")
    args = parser.parse_args(argv)
    spec = args.spec
    best = best_trial(map(read_trial, args.trials))
    trials = sorted((told(p, spec, args.times) for p in args.trials), key=lambda one: one["trial"])
    write_json(
        args.search,
        {
            "run": spec["run"],
            "sampler": spec["sampler"],
            "space": spec["space"],
            "best": best["trial"],
            "trials": trials,
        },
    )


if __name__ == "__main__":
    run_stage(main)
