"""Read one raw source and bring every row that can be used to the one record schema.

Reads:  the files, folders or globs of spec.path (JSON, JSON Lines, CSV, TSV, Parquet; packed
        or not; told by content).
Writes: records.parquet (records.RECORD; of preference pairs records.PAIR), rejected.parquet
        (records.REJECTED: every other row with its reason), manifest.json and SHA256SUMS.
        rows_in = kept + rejected.
Stops:  if a file can't be read, if no row has a column that is named for group or tags, if no
        row can be used, or if a larger share than spec.max_rejected_fraction is rejected;
        rejected.parquet is then left under the name rejected-of-failed-run.parquet, which
        Snakemake doesn't know and so doesn't delete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sftflow.formats import conversation
from sftflow.funnel import Tally, inspection_path, keep_for_inspection, too_many_rejected
from sftflow.jobs import project_path
from sftflow.jsontext import Refused
from sftflow.labels import Labels, conversation_columns
from sftflow.manifests import write_manifest
from sftflow.notes import Notes
from sftflow.preferences import FORMAT, preference
from sftflow.rawfiles import source_files
from sftflow.readers import Row, read_source
from sftflow.records import PAIR, RECORD, REJECTED, TableWriter, content_id, open_table
from sftflow.stage import StageError, console, run_stage, stage_parser
from sftflow.suspects import suspicions

STAGE = "ingest_source"
ROWS_PER_LINE = 250_000  # about half a minute between two lines on the console


def ingested(
    row: Row, spec: Mapping[str, Any], labels: Labels, tally: Tally, notes: Notes
) -> dict[str, Any]:
    """Return the record of one row; raise Refused with the reason if it can't be used."""
    if row.reason:
        raise Refused(row.reason, row.detail or "")
    where = f"{row.file}:{row.number}"
    marks = labels.of(row.value)
    pairs = spec["format"] == FORMAT
    found = (preference if pairs else conversation)(row.value, spec)
    for key in found.unused:
        if key not in labels.columns:
            notes.add(f"column_ignored:{key[:60]}", where)
    other = {"rejected": found.rejected} if pairs else {}
    texts = [m["content"] for m in (*found.messages, *other.values())]
    for code in [*found.notes, *suspicions(texts)]:
        notes.add(code, where)
    record = {"messages": found.messages, "tools": found.tools, **other}
    tally.keep(record, FORMAT if pairs else found.format)
    place = {"source": spec["source"], "file": row.file, "row": row.number}
    return {"id": content_id(record), **place, **record, **marks}


def ingest(
    spec: Mapping[str, Any], records: TableWriter, rejected: TableWriter
) -> tuple[Tally, Notes]:
    """Write every row of the source to one of the two tables.

    Raises StageError if no row has a column that is named for group or tags.
    """
    tally, notes, labels = Tally(), Notes(), Labels(spec["columns"])
    spec = {**spec, "columns": conversation_columns(spec["columns"])}
    for row in read_source(spec, notes):
        tally.rows_in += 1
        if tally.rows_in % ROWS_PER_LINE == 0:
            console().say(f"{spec['source']}: {tally.rows_in:,} rows read, {tally.kept:,} kept")
        try:
            records.add(ingested(row, spec, labels, tally, notes))
        except Refused as error:
            place = f"{row.file}:{row.number}"
            tally.reject(error.reason, f"{place}: {error.detail}")
            rejected.add(
                {
                    "source": spec["source"],
                    "file": row.file,
                    "row": row.number,
                    "stage": STAGE,
                    "step": None,
                    "reason": error.reason,
                    "detail": error.detail,
                    "raw": row.text,
                }
            )
    if fault := labels.fault(spec["source"]):
        raise StageError(fault)
    return tally, notes


def main(argv: list[str]) -> None:
    """Run the stage."""
    args = stage_parser(__doc__, "records", "rejected", "manifest").parse_args(argv)
    paths = args.spec["path"]
    paths = [paths] if isinstance(paths, str) else paths
    spec = {**args.spec, "path": [str(project_path(path)) for path in paths]}
    with keep_for_inspection(args.rejected):
        schema = PAIR if spec["format"] == FORMAT else RECORD
        with open_table(args.rejected, REJECTED) as rejected:
            with open_table(args.records, schema) as records:
                tally, notes = ingest(spec, records, rejected)
        fault = too_many_rejected(tally, spec["max_rejected_fraction"], f"source {spec['source']}")
        if fault:
            raise StageError(f"{fault}; all of them: {inspection_path(args.rejected)}")
    files = source_files(spec["path"], Notes())
    write_manifest(
        args.manifest,
        stage=STAGE,
        spec={**spec, "path": [file.name for file in files]},
        payloads=[args.records],
        also=[args.rejected],
        inputs={file.name: file.path for file in files},
        counts={**tally.counts(), "warnings": notes.summary()},
        packages=["pyarrow"],
    )
    console().say(f"{spec['source']}: {tally.sentence()}")


if __name__ == "__main__":
    run_stage(main)
