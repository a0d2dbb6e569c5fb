"""Say of a run whether it was healthy, overfit, underfit, diverged, memorised or did nothing.

reads   a run's manifest.json, history.csv and samples/; loss.json and generations.jsonl of the
        tuned model and of the one that it starts from; preferences.json of a run on pairs
writes  verdicts.json: {run, verdicts: [{name, sentence, advice, evidence: {figure: value}}],
        notes: [sentences], best_step, turned_at: step or null}
spec    run, templated: the key of its rows in loss.json

A stage of its own, and a cheap one: a changed threshold judges again and trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sftflow.answers import read_jsonl
from sftflow.course import read_course
from sftflow.diagnosis import verdicts
from sftflow.diagnosisnotes import notes
from sftflow.manifests import read_manifest, write_json
from sftflow.measured import read_object
from sftflow.preferencediagnosis import preference_notes, preference_verdicts
from sftflow.signs import Run, Side, turning_point
from sftflow.stage import StageError, console, run_stage, stage_parser

#: An answer that is so much longer than the reference, and did not end, runs on.
RUNS_ON = 1.5

Losses = Mapping[str, Any]  # a loss.json


def side(name: str, key: str, tuned: Losses, start: Losses) -> Side | None:
    """Return what was measured on training or validation rows, None if nothing was."""
    pair = [losses["losses"].get(f"{name}.{key}") for losses in (tuned, start)]
    if None in pair:
        return None
    told = tuned["recitation"].get(key)
    return Side(pair[0], pair[1], told[name]["exact"] if told else None)


def running_on(folder: Path) -> tuple[int, int]:
    """Return how many answers were shown at the last evaluation, and how many of them run on."""
    shown = sorted(folder.glob("step-*.jsonl"))
    answers = list(read_jsonl(shown[-1])) if shown else []
    long = [len(a["answer"]) > RUNS_ON * len(a["reference"]) for a in answers if not a["ended"]]
    return len(answers), sum(long)


def answered_alike(tuned: Path, start: Path) -> dict[str, int]:
    """Return how many prompts both models answered, how many alike, and how many right before."""
    before = {(row["set"], row["id"]): row for row in read_jsonl(start)}
    pairs = [
        (before[place], row)
        for row in read_jsonl(tuned)
        if (place := (row["set"], row["id"])) in before
    ]
    return {
        "answers": len(pairs),
        "unchanged": sum(old["answer"] == new["answer"] for old, new in pairs),
        "right_before": sum(old["answer"] == old["reference"] for old, _ in pairs),
    }


def main(argv: list[str] | None = None) -> None:
    """Read what the run and its measurements left, judge, write, and say the verdicts."""
    names = ("run", "history", "samples", "tuned", "start", "answers", "start-answers", "verdicts")
    parser = stage_parser(__doc__, *names)
    parser.add_argument("--preferences", type=Path, nargs="?", help="of a run on pairs")
    args = parser.parse_args(argv)
    manifest, key = read_manifest(args.run), args.spec["templated"]
    tuned, start = read_object(args.tuned), read_object(args.start)
    shown, long = running_on(args.samples)
    try:
        run = Run(
            course=read_course(args.history),
            training=manifest["settings"]["training"],
            method=manifest["settings"]["method"],
            ordered="order" in manifest["settings"],
            kept_step=manifest["counts"]["kept_step"],
            train=side("train", key, tuned, start),
            validation=side("validation", key, tuned, start),
            shown=shown,
            running_on=long,
            **answered_alike(args.answers, args.start_answers),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise StageError(
            f"run {args.spec['run']}: a manifest, loss.json or generations.jsonl does not have the "
            f"shape that its stage writes ({type(error).__name__}: {error}); delete it and rerun"
        ) from None
    turned = turning_point(run.course)
    found, remarks = verdicts(run), notes(run)
    if args.preferences is not None:
        rewards = read_object(args.preferences)
        found, remarks = preference_verdicts(run, rewards), preference_notes(rewards)
    write_json(
        args.verdicts,
        {
            "run": args.spec["run"],
            "verdicts": [asdict(verdict) for verdict in found],
            "notes": remarks,
            "best_step": run.course.best.step if run.course.best else None,
            "turned_at": turned.step if turned else None,
        },
    )
    for verdict in found:
        advice = "" if verdict.name == "healthy" else f" {verdict.advice}"
        console().say(f"{args.spec['run']}: {verdict.name}. {verdict.sentence}{advice}")
    if not found:
        console().say(f"{args.spec['run']}: too little was logged to judge it by")


if __name__ == "__main__":
    run_stage(main)
