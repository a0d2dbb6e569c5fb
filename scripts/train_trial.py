"""Train one trial of a search: train_adapter with the settings that were proposed for it.

reads   templated/, model/, as train_adapter does
writes  trained/: adapter/, samples/, history.csv, SHA256SUMS, manifest.json as train_adapter leaves
        them, and nothing if the training diverged; trial.json (trials.py), which says so
keeps   checkpoints/ until the training has ended
spec    as of train_adapter; trial: its number; settings: {key: value}, what was proposed of it

A training that diverges is a result here, the reason not to go there again. Any other fault
stops the search as it would stop a run.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import train_adapter
from sftflow.course import read_course
from sftflow.manifests import read_manifest, write_json
from sftflow.stage import StageError, console, run_stage, stage_parser
from sftflow.trials import has_diverged, kept_loss


def train(args: Any, spec: dict[str, Any]) -> str | None:
    """Train into ``args.trained``; return with which sentence the training diverged, if it did."""
    folder: Path = args.trained
    folder.mkdir(parents=True, exist_ok=True)
    places = {
        "templated": args.templated,
        "model": args.model,
        "adapter": folder / "adapter",
        "history": folder / "history.csv",
        "samples": folder / "samples",
        "checkpoints": args.checkpoints,
        "manifest": folder / "manifest.json",
        "code": args.code,
    }
    told = [text for name, place in places.items() for text in (f"--{name}", str(place))]
    try:
        train_adapter.main(["--spec", json.dumps(spec), *told])
    except StageError as error:
        if not has_diverged(str(error)):
            raise
        shutil.rmtree(folder)
        folder.mkdir()
        return str(error)
    return None


def main(argv: list[str] | None = None) -> None:
    """Train, and write down what came of it."""
    parser = stage_parser(__doc__, "templated", "model", "trained", "checkpoints", "trial")
    parser.add_argument("--code", default="", help="digest of the code; part of the fingerprint")
    args = parser.parse_args(argv)
    number, settings = args.spec["trial"], args.spec["settings"]
    spec = {key: args.spec[key] for key in args.spec if key not in ("trial", "settings")}
    said = {"run": spec["run"], "trial": number, "settings": settings, "loss": None}
    diverged = train(args, spec)
    if diverged is None:
        counts = read_manifest(args.trained / "manifest.json")["counts"]
        said["loss"] = kept_loss(counts, read_course(args.trained / "history.csv"))
        if said["loss"] is None:
            raise StageError(
                f"runs.{spec['run']}.search: trial {number} has no validation loss to be compared "
                "by; give its dataset validation rows (split.validation)"
            )
    write_json(args.trial, {**said, "diverged": diverged})
    shutil.rmtree(args.checkpoints, ignore_errors=True)
    end = "diverged" if diverged else f"validation loss {said['loss']:.4f}"
    console().say(f"trial {number} of {spec['run']}: {end} with {json.dumps(settings)}")


if __name__ == "__main__":
    run_stage(main)
