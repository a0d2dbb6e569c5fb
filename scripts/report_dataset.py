"""Show what a dataset is made of, on one page that needs nothing else.

Reads:  the source folders, the cleaned folder and the dataset folder with their manifests,
        and the dataset's rejected.parquet.
Writes: report.html: the funnel from raw rows to training rows with the reason for each loss,
        lengths, warnings, rows to look at. Nothing in it is loaded from elsewhere or run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sftflow.datareport import (
    Portrait,
    all_rows,
    funnel,
    histogram,
    rejected_samples,
    samples,
    shortened,
)
from sftflow.manifests import read_manifest, write_text
from sftflow.records import read_rows
from sftflow.stage import StageError, run_stage, stage_parser

TEMPLATES = Path(__file__).parent / "templates"
# No script, no font, no connection: whatever a row says, the page only shows it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(facts: dict[str, Any]) -> str:
    """Return the HTML page; every value from data is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shortened"] = shortened
    return environment.get_template("dataset.html.j2").render(policy=POLICY, **facts)


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return the manifest of a stage's folder."""
    try:
        return read_manifest(folder / "manifest.json")
    except ValueError as error:
        raise StageError(str(error)) from None


def dataset_facts(
    sources: list[Path], cleaned: Path, dataset: Path, rejected: Path
) -> dict[str, Any]:
    """Return everything that the page shows."""
    by_source = {folder.name: manifest_of(folder)["counts"] for folder in sources}
    cleaning, split = manifest_of(cleaned), manifest_of(dataset)
    portrait = Portrait()
    for record in read_rows(cleaned / "records.parquet"):
        portrait.add(record)
    rejections = [*(folder / "rejected.parquet" for folder in sources), rejected]
    return {
        "dataset": dataset.name,
        "sources": by_source,
        "levels": funnel(by_source, cleaning["counts"], split["counts"]),
        "steps": cleaning["settings"]["clean"],
        "split": split["counts"],
        "portrait": portrait.summary(),
        "charts": [
            ("prompt length (characters)", histogram(portrait.prompt_chars, "prompt characters")),
            ("answer length (characters)", histogram(portrait.answer_chars, "answer characters")),
        ],
        "samples": samples(read_rows(dataset / "train.parquet")),
        "rejections": rejected_samples(all_rows(rejections)),
    }


def main(argv: list[str]) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__, "cleaned", "dataset", "rejected", "html")
    parser.add_argument("--sources", type=Path, nargs="+", required=True, metavar="DIR")
    args = parser.parse_args(argv)
    facts = dataset_facts(args.sources, args.cleaned, args.dataset, args.rejected)
    write_text(args.html, page(facts))


if __name__ == "__main__":
    run_stage(main)
