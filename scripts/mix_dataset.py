"""Make the rows that trainings read: without benchmark questions, sources in the wanted mix.

Reads:  the dataset folder's train.parquet and validation.parquet; contamination.parquet if
        spec.drop says that rows with benchmark questions go.
Writes: mixed/train.parquet (the columns of the input: source after source in the order of
        spec.sources, each in the order of the input; a row that is taken again follows after all
        others of its source, with .2, .3 ... after its id), mixed/validation.parquet (as it was),
        rejected.parquet (the rows that went for a benchmark question), manifest.json and
        SHA256SUMS.
Stops:  if nothing is left of a source that the mix names, or if a source would be repeated more
        often than its max_times.

rows_in = dropped + left_out + the different rows that stay. What the mix leaves out stands in the
dataset's train.parquet; nothing about it is wrong, so it is not in rejected.parquet.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from sftflow.manifests import replacing, write_manifest
from sftflow.mixing import copies, place, wanted_rows
from sftflow.records import (
    REJECTED,
    TableWriter,
    open_table,
    raw_text,
    read_rows,
    record_schema,
    write_table,
)
from sftflow.stage import StageError, console, run_stage, stage_parser

STAGE, STEP = "mix_dataset", "decontaminate"


def contaminated(path: Path | None) -> dict[str, tuple[str, str]]:
    """Return row id -> (reason, sentence) of the rows that hold a benchmark question."""
    found: dict[str, tuple[str, str]] = {}
    if path is None:
        return found
    columns = ["id", "suite", "task", "doc", "coverage", "span"]
    for row in read_rows(path, columns):
        said = (
            f"holds {row['coverage']:.0%} of question {row['doc']} of {row['suite']}/{row['task']}:"
            f" {row['span']}"
        )
        found.setdefault(row["id"], ("benchmark_question", said))
    return found


class Choice:
    """For each row of train.parquet its source and how often it goes in: 23 bytes a row."""

    def __init__(self, train: Path, spec: Mapping[str, Any], gone: Mapping[str, Any]) -> None:
        """Choose by ``spec``'s mix; rows in ``gone`` don't count as available."""
        sources, mix = spec["sources"], spec["mix"]
        number = {source: i for i, source in enumerate(sources)}
        seeds = {source: mix[source]["seed"] if source in mix else 0 for source in sources}
        rows = pq.read_metadata(train).num_rows
        self.source, places = np.zeros(rows, np.int16), np.zeros(rows, np.uint64)
        kept = np.ones(rows, bool)
        for i, row in enumerate(read_rows(train, ["id", "source"])):
            self.source[i] = number[row["source"]]
            places[i] = place(seeds[row["source"]], row["id"])
            kept[i] = row["id"] not in gone
        self.dropped = int((~kept).sum())
        if not kept.any():
            raise StageError(f"every one of the {rows} training rows holds a benchmark question")
        of_source = [np.flatnonzero(kept & (self.source == i)) for i in range(len(sources))]
        available = {source: len(of_source[i]) for source, i in number.items()}
        self.wanted = wanted_rows(mix, available)
        self.taken = np.zeros(rows, np.int64)
        for source, i in number.items():
            self.taken[of_source[i]] = copies(places[of_source[i]], self.wanted[source])
        self.by_source = {
            source: {
                "available": available[source],
                "rows": self.wanted[source],
                "left_out": int((self.taken[of_source[i]] == 0).sum()),
                "repeated": int(np.maximum(self.taken[of_source[i]] - 1, 0).sum()),
            }
            for source, i in number.items()
        }

    def rounds(self) -> Iterator[np.ndarray]:
        """Yield, source after source, which rows go in for the first time, the second ..."""
        for i in range(len(self.wanted)):
            mine = self.source == i
            for again in range(int(self.taken[mine].max(initial=0))):
                yield mine & (self.taken > again)


def chosen_rows(train: Path, choice: Choice) -> Iterator[dict[str, Any]]:
    """Yield the rows of the mix; reads no row group of ``train`` that holds none."""
    seen = np.zeros(len(choice.taken), np.int32)
    with pq.ParquetFile(train) as file:
        sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        starts = np.cumsum([0, *sizes])
        for mask in choice.rounds():
            for group, size in enumerate(sizes):
                rows = np.flatnonzero(mask[starts[group] : starts[group] + size])
                if not len(rows):
                    continue
                records = file.read_row_group(group).take(rows).to_pylist()
                for at, record in zip(rows, records, strict=True):
                    seen[starts[group] + at] += 1
                    time = seen[starts[group] + at]
                    yield record if time == 1 else {**record, "id": f"{record['id']}.{time}"}


def reject_all(train: Path, gone: Mapping[str, tuple[str, str]], rejected: TableWriter) -> None:
    """Write the rows in ``gone`` to ``rejected``, each with what it holds."""
    for record in read_rows(train) if gone else ():
        if record["id"] in gone:
            reason, detail = gone[record["id"]]
            rejected.add(
                {
                    **{key: record[key] for key in ("source", "file", "row")},
                    "stage": STAGE,
                    "step": STEP,
                    "reason": reason,
                    "detail": detail,
                    "raw": raw_text(record),
                }
            )


def sentence(spec: Mapping[str, Any], choice: Choice, rows: int) -> str:
    """Return one line for the console."""
    parts = []
    for source, counts in choice.by_source.items():
        part = f"{counts['rows']} {source}"
        notes = [f"{counts[key]} {key}" for key in ("repeated", "left_out") if counts[key]]
        parts.append(f"{part} ({', '.join(notes).replace('_', ' ')})" if notes else part)
    gone = f"; {choice.dropped} with benchmark questions dropped" if choice.dropped else ""
    return f"{spec['dataset']}: {rows} rows to train on: {', '.join(parts)}{gone}"


def main(argv: list[str]) -> None:
    """Run the stage."""
    names = ("dataset", "train", "validation", "rejected", "manifest")
    parser = stage_parser(__doc__, *names)
    parser.add_argument("--contamination", type=Path, help="contamination.parquet")
    args = parser.parse_args(argv)
    spec = args.spec
    whole = args.dataset / "train.parquet"
    gone = contaminated(args.contamination if spec["drop"] else None)
    choice = Choice(whole, spec, gone)
    with open_table(args.rejected, REJECTED) as rejected:
        reject_all(whole, gone, rejected)
    rows = write_table(args.train, chosen_rows(whole, choice), record_schema(whole))
    with replacing(args.validation) as part:
        shutil.copyfile(args.dataset / "validation.parquet", part)
    inputs = {side: args.dataset / f"{side}.parquet" for side in ("train", "validation")}
    write_manifest(
        args.manifest,
        stage=STAGE,
        spec=spec,
        payloads=[args.train, args.validation],
        also=[args.rejected],
        inputs=inputs | ({"contamination": args.contamination} if spec["drop"] else {}),
        counts={
            "rows_in": len(choice.taken),
            "rejected": {f"{STEP}/benchmark_question": choice.dropped} if choice.dropped else {},
            "left_out": sum(c["left_out"] for c in choice.by_source.values()),
            "rows": rows,
            "sources": choice.by_source,
        },
        packages=["pyarrow"],
    )
    console().say(sentence(spec, choice, rows))


if __name__ == "__main__":
    run_stage(main)
