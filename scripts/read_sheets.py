"""Take filled scoring sheets back in: mean scores per model and criterion, and agreement.

reads   --key: key.json of the sheet; the files that spec.filled names (.csv as sheet.csv, or what
        sheet.html saves)
writes  ratings.json: {sheet, raters, ratings, models: {model: {criterion: {value, stderr, n, low,
        high}}}, differences: [{models, criteria}], agreement: {criterion: {alpha, items}},
        unknown}; n counts prompts. ``unknown`` are scores of answers that are on the sheet no more
stops   for a cell that is no score, for an answer that one person has scored twice, and if no score
        is of an answer on the sheet
"""

from __future__ import annotations

import json

from sftflow.jobs import project_path
from sftflow.manifests import write_json
from sftflow.ratings import check_once, read_sheet, summary_of
from sftflow.stage import StageError, console, run_stage, stage_parser


def main(argv: list[str]) -> None:
    """Read sheets and key, compute, write."""
    args = stage_parser(__doc__, "key", "ratings").parse_args(argv)
    spec = args.spec
    items = json.loads(args.key.read_text(encoding="utf-8"))["items"]
    given = [rating for path in spec["filled"] for rating in read_sheet(project_path(path))]
    check_once(given)
    known = [rating for rating in given if rating.item in items]
    unknown = [rating for rating in given if rating.item not in items]
    if not known:
        what = f"none of the {len(given)} scored answers is on it" if given else "nothing is scored"
        raise StageError(
            f"people.{spec['sheet']}: {what}; fill in the sheet.html or sheet.csv beside {args.key}"
        )
    said = summary_of(known, items, spec["models"], spec["pairs"])
    places = [{"place": rating.place, "item": rating.item} for rating in unknown]
    write_json(args.ratings, {"sheet": spec["sheet"], **said, "unknown": places})
    alphas = ", ".join(
        f"{name} {'–' if a['alpha'] is None else format(a['alpha'], '.2f')}"
        for name, a in said["agreement"].items()
    )
    console().say(
        f"{spec['sheet']}: {len(known)} scored answers from {len(said['raters'])} raters; "
        f"Krippendorff's alpha: {alphas}"
    )
    if unknown:
        console().say(
            f"{spec['sheet']}: {len(unknown)} scores are of answers that the models do not give "
            f"any more (first: {unknown[0].place}); they are left out"
        )


if __name__ == "__main__":
    run_stage(main)
