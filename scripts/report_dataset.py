"""Show what a dataset is made of, on one page that needs nothing else.

reads   the source folders, the cleaned folder and the dataset folder with their manifests, the
        dataset's rejected.parquet; manifests of its templated data (--tokens), the folder of the
        mix (--mixed), the map of its prompts (--map) and the portrait of an earlier dataset
        (--earlier), if there are any
writes  portrait.json: the figures of the training rows, small enough to be kept and compared
        with; report.html: where the rows went, what they are like, what changed, rows to look
        at. Nothing in it is loaded from elsewhere or run.
spec    dataset; compare_with (as the config names it, or null)
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftflow import datacharts, figures
from sftflow.dataflow import by_source, drawing, funnel
from sftflow.diversity import FIRST_WORDS
from sftflow.drift import LENGTHS, compared, first_words, side_by_side
from sftflow.labelfigures import group_facts, tag_facts
from sftflow.manifests import read_manifest, write_json, write_text
from sftflow.overlaps import overlap_facts
from sftflow.pagetemplates import page_templates
from sftflow.portrait import Portrait, read_portrait
from sftflow.records import read_rows
from sftflow.rejections import Rejections, read_rejections
from sftflow.rowsamples import Samples
from sftflow.stage import StageError, run_stage, stage_parser
from sftflow.tokencounts import token_facts, what_is_cut

# No script, no font, no connection: whatever a row says, the page only shows it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
SHOWN_VALUES, SHOWN_SHARE = 10, 0.005  # of languages, scripts, values of a column


def page(facts: dict[str, Any]) -> str:
    """Return the HTML page; every value from data is escaped."""
    environment = page_templates()
    environment.filters.update(frequent=frequent, count=figures.count)
    environment.filters.update(percent=figures.percent, cut=what_is_cut)
    return environment.get_template("dataset.html.j2").render(policy=POLICY, **facts)


def frequent(rows: list[list[Any]]) -> list[list[Any]]:
    """Return [value, rows] without the rare ones, which stand together at the end as null."""
    least = SHOWN_SHARE * sum(n for _, n in rows)
    shown = [[value, n] for value, n in rows if value is not None and n >= least][:SHOWN_VALUES]
    rest = sum(n for _, n in rows) - sum(n for _, n in shown)
    return [*shown, [None, rest]] if rest else shown


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return the manifest of a stage's folder."""
    try:
        return read_manifest(folder / "manifest.json")
    except ValueError as error:
        raise StageError(str(error)) from None


def look_at_training_rows(dataset: Path, rows: int) -> tuple[Portrait, list[dict[str, Any]]]:
    """Return the figures of the training rows and the rows to show, from one reading."""
    portrait, samples = Portrait(rows), Samples()
    for record in read_rows(dataset / "train.parquet"):
        portrait.add(record)
        samples.add(record)
    return portrait, samples.groups()


def label_section(args: Namespace) -> dict[str, Any]:
    """Return what the page says of tags and groups; null of what no row has."""
    train = args.dataset / "train.parquet"
    mixed = [path.parent / "train.parquet" for path in args.mixed]
    read = [folder / "records.parquet" for folder in args.sources]
    cleaned = args.cleaned / "records.parquet"
    levels = [("read", read), ("cleaned", [cleaned]), ("split", [train])]
    tags = tag_facts([*levels, ("trained", mixed or [train])])
    chart = datacharts.tag_bars(tags["tags"]) if tags else None
    groups = group_facts(cleaned, train)
    return {"tags": tags, "tags_chart": chart, "groups": groups, "mixed": bool(mixed)}


def drift_facts(
    now: Mapping[str, Any], before: Mapping[str, Any] | None, name: str | None
) -> dict[str, Any] | None:
    """Return how the dataset differs from the earlier one; None without one."""
    if before is None:
        return None
    kinds = {"sources": "Sources", "scripts": "Writing of the prompts"}
    shares = [(title, side_by_side(now[kind], before[kind])) for kind, title in kinds.items()]
    tags = [p["columns"].get("tags") for p in (now, before)]
    if all(tags):
        shares.append(("Tags", side_by_side(*tags)))
    shares += [
        (f"Languages of the {side}", side_by_side(*(p["languages"][side] for p in (now, before))))
        for side in ("prompts", "answers")
    ]
    turns = (p["lengths"]["turns"]["bins"] for p in (now, before))
    shares.append(("Answers per row", side_by_side(*turns)))
    words = ([list(pair) for pair in first_words(p).items()] for p in (now, before))
    shares.append(("First words of the prompts", side_by_side(*words)))
    return {
        "against": name,
        "rows": before["rows"],
        "lines": compared(now, before),
        "charts": [
            (label, datacharts.overlay(*(p["lengths"][kind]["bins"] for p in (now, before)), label))
            for kind, label in LENGTHS.items()
            if kind != "turns"
        ],
        "shares": [(title, rows) for title, rows in shares if len(rows) > 1],
    }


def charts(portrait: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return captions and pictures of lengths in characters and turns."""
    lengths = portrait["lengths"]
    return [
        ("rows by prompt length (characters)", _characters(lengths["prompt_chars"], "prompt")),
        ("answers by length (characters)", _characters(lengths["answer_chars"], "answer")),
        ("rows by number of answers", datacharts.turn_bars(lengths["turns"]["bins"])),
    ]


def map_facts(path: Path) -> dict[str, Any]:
    """Return the picture of the prompts' map (None if they are too few) and what it shows."""
    points = json.loads(path.read_text(encoding="utf-8"))["points"]
    sources = [name for name, _ in Counter(point[1] for point in points).most_common()]
    chart = datacharts.scatter(points, sources)
    return {"chart": chart, "points": len(points), "sources": sources}


def _characters(lengths: Mapping[str, Any], what: str) -> str | None:
    return datacharts.histogram(lengths["bins"], f"{what} characters")


def token_section(manifests: list[Path]) -> list[dict[str, Any]]:
    """Return counts and picture for each templated form of the dataset."""
    tokens = [token_facts(manifest_of(path.parent)) for path in manifests]
    for facts in tokens:
        facts["chart"] = datacharts.histogram(facts["bins"], "tokens", facts["max_length"])
    return tokens


def losses(args: Namespace, names: list[str], steps: list[dict[str, Any]]) -> Rejections:
    """Return what went, by step and reason, with examples."""
    paths = [*(folder / "rejected.parquet" for folder in args.sources), args.rejected]
    conflicts = next((step for step in steps if step["step"] == "conflicts"), {})
    return read_rejections(paths, args.cleaned / "records.parquet", names, conflicts)


def main(argv: list[str]) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__, "cleaned", "dataset", "rejected", "portrait", "html")
    parser.add_argument("--sources", type=Path, nargs="+", required=True, metavar="DIR")
    for name in ("tokens", "earlier", "contamination", "mixed", "map"):
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[], metavar="FILE")
    args = parser.parse_args(argv)
    before = read_portrait(args.earlier[0]) if args.earlier else None
    by_name = {folder.name: manifest_of(folder)["counts"] for folder in args.sources}
    cleaning, split = manifest_of(args.cleaned), manifest_of(args.dataset)["counts"]
    gone = losses(args, list(by_name), cleaning["settings"]["clean"])
    gathered, samples = look_at_training_rows(args.dataset, split["train"])
    portrait = gathered.figures(args.dataset.name)
    drift = drift_facts(portrait, before, args.spec.get("compare_with"))
    told = {key: drift[key] for key in ("against", "rows", "lines")} if drift else None
    write_json(args.portrait, {**portrait, "drift": told})
    mixed = manifest_of(args.mixed[0].parent)["counts"] if args.mixed else None
    levels = funnel(by_name, cleaning["counts"], split, mixed)
    facts = {
        "dataset": args.dataset.name,
        "levels": levels,
        "drawing": drawing(levels),
        "split": split,
        "sources": by_source(by_name, gone.by_source, gathered.counted["sources"], mixed),
        "portrait": portrait,
        "first_words": FIRST_WORDS,
        "drawn_words": datacharts.DRAWN_WORDS,
        "charts": charts(portrait),
        "openings_chart": datacharts.openings(portrait["openings"]["words"]),
        "map": map_facts(args.map[0]) if args.map else None,
        "tokens": token_section(args.tokens),
        "drift": drift,
        "pairs": gone.pairs(),
        "conflicts": gone.conflicts(),
        "overlaps": overlap_facts(args.contamination[0]) if args.contamination else None,
        **label_section(args),
        "samples": samples,
        "rejections": gone.groups(),
    }
    write_text(args.html, page(facts))


if __name__ == "__main__":
    run_stage(main)
