"""Propose the settings of the next trials of a search from the losses of the rounds before.

reads   trial.json of every trial of the rounds before
writes  round.json: {run, round, trials: {number: {key: value}}}
spec    run, round, trials: [numbers], and space, sampler, seed as in the config
"""

from __future__ import annotations

from pathlib import Path

from sftflow.manifests import write_json
from sftflow.stage import console, run_stage, stage_parser
from sftflow.suggesting import proposals
from sftflow.trials import read_trial


def main(argv: list[str] | None = None) -> None:
    """Read the losses, propose, write."""
    parser = stage_parser(__doc__, "round")
    parser.add_argument("--trials", type=Path, nargs="*", default=[])
    args = parser.parse_args(argv)
    spec = args.spec
    known = sorted(map(read_trial, args.trials), key=lambda trial: trial["trial"])
    found = proposals(
        spec["space"],
        spec["sampler"],
        spec["seed"],
        spec["round"],
        [(trial["settings"], trial["loss"]) for trial in known],
        len(spec["trials"]),
    )
    proposed = dict(zip(map(str, spec["trials"]), found, strict=True))
    write_json(args.round, {"run": spec["run"], "round": spec["round"], "trials": proposed})
    console().say(f"{spec['run']}: {len(found)} trials proposed, from {len(known)} losses")


if __name__ == "__main__":
    run_stage(main)
