"""Clean the records of a dataset's sources, step by step, and say why each lost row went.

Reads:  records.parquet of every source folder in --sources; of a judge that this workflow
        serves, its folder (--model) and the file of its server (--endpoint).
Writes: records.parquet, manifest.json and SHA256SUMS of results/datasets/{dataset}/cleaned,
        and rejected.parquet of the dataset. rows_in = kept + rejected.
Stops:  if nothing is left, or if a larger share than spec.max_rejected_fraction goes;
        rejected.parquet is then left as rejected-of-failed-run.parquet.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sftflow import pairsteps
from sftflow.cleaning import cleaned
from sftflow.cleaningstep import REQUEST_BOUNDS, Step
from sftflow.funnel import Tally, inspection_path, keep_for_inspection, too_many_rejected
from sftflow.manifests import write_manifest
from sftflow.records import (
    PAIR,
    RECORD,
    REJECTED,
    TableWriter,
    content_id,
    open_table,
    raw_text,
    read_rows,
    record_schema,
    write_table,
)
from sftflow.serving import take_a_thread
from sftflow.stage import StageError, console, run_stage, stage_parser

STAGE = "clean_dataset"
ROWS_PER_LINE = 250_000  # about half a minute between two lines on the console


def source_records(
    folders: Iterable[Path], tally: Tally, by_source: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """Yield the records of all sources, counting them in ``tally`` and by source."""
    for folder in folders:
        for record in read_rows(folder / "records.parquet"):
            tally.rows_in += 1
            if tally.rows_in % ROWS_PER_LINE == 0:
                console().say(f"{tally.rows_in:,} rows read")
            by_source[record["source"]] = by_source.get(record["source"], 0) + 1
            yield record


def identified(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield records with the id of what they say now, made unique by -2, -3 ... if need be."""
    seen: set[int] = set()
    again: dict[str, int] = {}
    for record in records:
        name = content_id(record)
        number = int(name, 16)
        if number in seen:
            again[name] = again.get(name, 1) + 1
            name = f"{name}-{again[name]}"
        seen.add(number)
        yield {**record, "id": name}


def counted(records: Iterable[dict[str, Any]], tally: Tally) -> Iterator[dict[str, Any]]:
    """Yield records, counting each as kept."""
    for record in records:
        tally.keep(record)
        yield record


def rejected_row(step: str, record: Mapping[str, Any], reason: str, detail: str) -> dict[str, Any]:
    """Return the row of rejected.parquet for a record that a step let go."""
    place = {key: record[key] for key in ("source", "file", "row")}
    said = {"reason": reason, "detail": detail, "raw": raw_text(record)}
    return {**place, "stage": STAGE, "step": step, **said}


def steps_of(spec: Mapping[str, Any], endpoint: Path | None, model: Path | None) -> list[dict]:
    """Return the steps with their options; a judge that is served here is told its server."""
    here = {"server": (endpoint, model, spec.get("serve"))}
    return [
        {**step, **here} if step["step"] == "judge" and step["base_url"] is None else step
        for step in spec["clean"]
    ]


def clean(
    folders: list[Path], steps: list[dict], out: Path, rejected: TableWriter
) -> tuple[Tally, list[Step], dict[str, int]]:
    """Write the cleaned records to ``out``; return the counts in all, by step and by source."""
    tally, by_source = Tally(), {}

    schemas = {folder.name: record_schema(folder / "records.parquet") for folder in folders}
    pairs = any(schema is PAIR for schema in schemas.values())
    if pairs and any(schema is RECORD for schema in schemas.values()):
        raise StageError(f"preference pairs stand beside other rows in {', '.join(schemas)}")

    def refuse(step: str, record: dict[str, Any], reason: str, detail: str) -> None:
        if pairs:
            record, detail = pairsteps.apart(record), pairsteps.told(detail)
        place = f"{record['source']} {record['file']}:{record['row']}"
        tally.reject(f"{step}/{reason}", f"{place}: {detail}")
        rejected.add(rejected_row(step, record, reason, detail))

    out.parent.mkdir(parents=True, exist_ok=True)
    stream = source_records(folders, tally, by_source)
    if pairs:
        stream, steps = map(pairsteps.beside, stream), [*steps, {"step": "different_answers"}]
    own = pairsteps.STEPS if pairs else None
    stream, books = cleaned(stream, steps, out.parent, refuse, own)
    stream = map(pairsteps.apart, stream) if pairs else stream
    write_table(out, counted(identified(stream), tally), PAIR if pairs else RECORD)
    return tally, books, by_source


def settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec without what shapes no row: places of models, bounds of requests."""
    return {**spec, "clean": [_shaping(step) for step in spec["clean"]]}


def _shaping(step: Mapping[str, Any]) -> Mapping[str, Any]:
    if step["step"] == "judge":
        return {key: value for key, value in step.items() if key not in REQUEST_BOUNDS}
    if step["step"] == "semantic_duplicates" and not step.get("revision"):
        return {**step, "model": Path(step["model"]).name}
    return step


def main(argv: list[str]) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__, "records", "rejected", "manifest")
    parser.add_argument("--sources", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--endpoint", type=Path, nargs="?", help="of a judge served here")
    parser.add_argument("--model", type=Path, nargs="?", help="folder of that judge")
    args = parser.parse_args(argv)
    spec = args.spec
    if args.endpoint is not None:
        take_a_thread()
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the server has the GPU, not an embedding model
    settled = steps_of(spec, args.endpoint, args.model)
    with keep_for_inspection(args.rejected):
        with open_table(args.rejected, REJECTED) as rejected:
            tally, steps, by_source = clean(args.sources, settled, args.records, rejected)
        fault = too_many_rejected(
            tally, spec["max_rejected_fraction"], f"dataset {spec['dataset']}"
        )
        if fault:
            raise StageError(f"{fault}; all of them: {inspection_path(args.rejected)}")
    write_manifest(
        args.manifest,
        stage=STAGE,
        spec=settings(spec),
        payloads=[args.records],
        also=[args.rejected],
        inputs={folder.name: folder / "records.parquet" for folder in args.sources},
        counts={
            **tally.counts(),
            "sources": by_source,
            "steps": [step.counts() for step in steps],
        },
        packages=["pyarrow", *sorted({p for step in steps for p in step.packages})],
    )
    console().say(f"{spec['dataset']}: {tally.sentence()}")


if __name__ == "__main__":
    run_stage(main)
