"""Score the answers of one model, set by set.

reads   generations.jsonl: {set, id, answer|null, reference|null, finish_reason,
        completion_tokens, ...}
writes  scores.json: {model, sets: {name: {metric: {value, stderr, n}}}, versions}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sftflow.answers import read_jsonl
from sftflow.manifests import write_json
from sftflow.scoring import score
from sftflow.stage import StageError, console, run_stage, stage_parser

PACKAGES = ("sacrebleu", "rouge-score")


def rows_by_set(
    rows: Iterable[Mapping[str, Any]], names: Iterable[str], path: Path
) -> dict[str, list[Mapping[str, Any]]]:
    """Return each set's rows; raise StageError for a row that can't be scored."""
    sets: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
    seen: set[tuple[str, str]] = set()
    for line, row in enumerate(rows, start=1):
        name, place = row.get("set"), (str(row.get("set")), str(row.get("id")))
        if name not in sets:
            raise StageError(
                f"{path}, line {line}: set '{name}' was not asked for; delete the file"
            )
        if place in seen:
            raise StageError(f"{path}, line {line}: '{row.get('id')}' is answered twice")
        if row.get("answer") is None and row.get("finish_reason") == "prompt_too_long":
            row = {**row, "answer": ""}  # no room to answer: wrong, and counted as such
        for key in ("answer", "reference"):
            if key not in row or not isinstance(row[key], str | None):
                raise StageError(f"{path}, line {line}: {key} is neither text nor null")
        seen.add(place)
        sets[name].append(row)
    return sets


def main(argv: list[str] | None = None) -> None:
    """Read the answers, score them, write the scores."""
    args = stage_parser(__doc__, "generations", "scores").parse_args(argv)
    asked = args.spec["sets"]
    sets = rows_by_set(read_jsonl(args.generations), asked, args.generations)
    scores = {name: score(rows, asked[name]["metrics"]) for name, rows in sets.items()}
    write_json(
        args.scores,
        {
            "model": args.spec["model"],
            "sets": scores,
            "versions": {name: version(name) for name in PACKAGES},
        },
    )
    for name, rows in sets.items():
        empty = sum(row["answer"] is None for row in rows)
        more = f", {empty} prompts without an answer left out" if empty else ""
        console().say(f"{args.spec['model']}: {name}: {len(rows) - empty} answers scored{more}")


if __name__ == "__main__":
    run_stage(main)
