"""Lay several models' answers out for people to score, without saying whose they are.

reads   --answers: generations.jsonl of the models of the spec, in its order
writes  sheet.html (works offline, remembers scores, saves them as CSV or JSON), sheet.csv (the same
        for a spreadsheet) and key.json: {sheet, items: {item: {set, id, models}}}, which says
        whose answers they are and is not handed out
stops   if there is no prompt that all models have answered
"""

from __future__ import annotations

from pathlib import Path

from sftflow.manifests import write_json, write_text
from sftflow.sheets import key_of_sheet, questions, sheet_csv, sheet_html
from sftflow.stage import StageError, console, run_stage, stage_parser


def main(argv: list[str]) -> None:
    """Choose prompts, lay out, write."""
    parser = stage_parser(__doc__, "html", "csv", "key")
    parser.add_argument("--answers", type=Path, nargs="+", required=True, help="of the models")
    args = parser.parse_args(argv)
    spec = args.spec
    answers = dict(zip(spec["models"], args.answers, strict=True))
    asked = questions(answers, spec["rows"], spec["seed"])
    if not asked:
        names = ", ".join(spec["models"])
        raise StageError(
            f"people.{spec['sheet']}: there is no prompt that all of {names} have answered; name "
            "other models, or generation.prompts"
        )
    write_text(args.html, sheet_html(asked, spec["title"], spec["show_reference"]))
    write_text(args.csv, sheet_csv(asked, spec["show_reference"]))
    write_json(args.key, {"sheet": spec["sheet"], "items": key_of_sheet(asked)})
    items = sum(len(q.answers) for q in asked)
    console().say(f"{args.html}: {items} answers to {len(asked)} prompts; the key is {args.key}")


if __name__ == "__main__":
    run_stage(main)
