"""Score the answers of one model, set by set.

reads   generations.jsonl: {set, id, answer|null, reference|null, finish_reason,
        completion_tokens, tags (where rows have some), ...}
writes  scores.json: {model, sets: {name: {metric: {value, stderr, n}}}, versions}; where rows have
        tags, also tags: {name: {tag: {metric: {value, stderr, n}}}}
"""

from __future__ import annotations

from importlib.metadata import version

from sftflow.answers import rows_by_set
from sftflow.faultscores import fault_scores
from sftflow.manifests import write_json
from sftflow.scoring import score
from sftflow.stage import console, run_stage, stage_parser
from sftflow.tagscores import tag_scores

PACKAGES = ("sacrebleu", "rapidfuzz")


def main(argv: list[str] | None = None) -> None:
    """Read the answers, score them, write the scores."""
    args = stage_parser(__doc__, "generations", "scores").parse_args(argv)
    asked = args.spec["sets"]
    sets = rows_by_set(args.generations, asked)
    said = {
        "model": args.spec["model"],
        "sets": {
            name: score(rows, asked[name]["metrics"]) | fault_scores(rows)
            for name, rows in sets.items()
        },
        "versions": {name: version(name) for name in PACKAGES},
    }
    by_tag = {name: tag_scores(rows, asked[name]["metrics"]) for name, rows in sets.items()}
    if tagged := {name: scores for name, scores in by_tag.items() if scores}:
        said["tags"] = tagged
    write_json(args.scores, said)
    for name, rows in sets.items():
        empty = sum(row["answer"] is None for row in rows)
        more = f", {empty} prompts without an answer left out" if empty else ""
        console().say(f"{args.spec['model']}: {name}: {len(rows) - empty} answers scored{more}")


if __name__ == "__main__":
    run_stage(main)
