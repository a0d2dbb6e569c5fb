"""Make the trial with the lowest validation loss the result of its run.

reads   trial.json and trained/ of every trial
writes  adapter/, samples/, history.csv, SHA256SUMS and manifest.json, as train_adapter leaves them;
        the manifest also has trial: the number of the best one
spec    run

A search with more trials that finds nothing better leaves the same bytes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sftflow.folders import built_beside, check_payloads
from sftflow.manifests import SUMS, read_manifest, replacing, write_json
from sftflow.stage import console, run_stage, stage_parser
from sftflow.trials import best_trial, read_trial


def copied(source: Path, target: Path) -> None:
    """Copy a file or a folder, whole or not at all."""
    if source.is_dir():
        with built_beside(target) as built:
            shutil.copytree(source, built, dirs_exist_ok=True)
    else:
        with replacing(target) as part:
            shutil.copyfile(source, part)


def main(argv: list[str] | None = None) -> None:
    """Compare, copy, and only then vouch for the result."""
    parser = stage_parser(__doc__, "adapter", "samples", "history", "manifest")
    parser.add_argument("--trials", type=Path, nargs="+", required=True, help="trial.json of each")
    args = parser.parse_args(argv)
    found = {path: read_trial(path) for path in args.trials}
    best = best_trial(found.values())
    folder = next(path.parent for path, trial in found.items() if trial is best) / "trained"
    check_payloads(folder)
    manifest = read_manifest(folder / "manifest.json")
    for place in (args.adapter, args.samples, args.history):
        copied(folder / place.name, place)
    copied(folder / SUMS, args.manifest.with_name(SUMS))
    write_json(args.manifest, {**manifest, "stage": "choose_trial", "trial": best["trial"]})
    console().say(
        f"{args.spec['run']}: trial {best['trial']} of {len(found)} is best, "
        f"validation loss {best['loss']:.4f}"
    )


if __name__ == "__main__":
    run_stage(main)
