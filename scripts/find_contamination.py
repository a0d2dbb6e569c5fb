"""Look for the test questions of a dataset's benchmark suites in its training rows.

Reads:  train.parquet of the split dataset; the suites' tasks (own YAML files with their data, or
        lm-eval's), where {dataset} is a folder below --datasets.
Writes: contamination.parquet: every row that holds a question, with the nearest question of each
        task, the words that they share and how much of the question they are;
        contamination.json: {dataset, method, counts, matches: the first of these rows, left_out}.
Stops:  if a task can't be loaded: a dataset that was not checked must not look like a clean one.

Nothing is removed here; mix_dataset does that if decontaminate.action is drop.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sftflow.contamination import MATCHES, Findings, matches, survey
from sftflow.hub import log_no_addresses
from sftflow.manifests import write_json
from sftflow.questionindex import Question, QuestionIndex
from sftflow.questions import suite_questions
from sftflow.records import open_table, read_rows
from sftflow.scratch import scratch_folder
from sftflow.stage import StageError, console, run_stage, stage_parser
from sftflow.suitetasks import own_tasks

SHOWN = 200  # matches in contamination.json; all of them are in contamination.parquet
SHOWN_CHARS = 600  # of a span or a question there


def all_questions(spec: Mapping[str, Any], datasets: Path) -> Iterator[Question]:
    """Yield the questions of all suites; raise StageError if a task can't be loaded."""
    for name, suite in spec["suites"].items():
        folder = None if suite["dataset"] is None else datasets / suite["dataset"]
        try:
            yield from suite_questions(
                name, suite, own_tasks(suite), folder, suite["dataset"] == spec["dataset"]
            )
        except StageError as error:
            raise StageError(
                f"{error}; without the questions of suite {name} nothing can be said about "
                f"dataset {spec['dataset']} (decontaminate.action: off goes without an answer)"
            ) from None


def compare(train: Path, index: QuestionIndex, spec: Mapping[str, Any], out: Path) -> Findings:
    """Write the matches of all rows to ``out``; return what was counted."""
    columns = ["id", "source", "file", "row", "messages"]
    first = survey(index, read_rows(train, ["messages"]))
    findings = Findings(index)
    least = (spec["coverage"], spec["own_coverage"])
    with open_table(out, MATCHES) as table:
        # Only rows with a phrase are looked at twice: most data hold none.
        for touched, record in zip(first.touched, read_rows(train, columns), strict=True):
            findings.rows += 1
            if touched:
                found = matches(index, record, first.rows_with, *least)
                for row in findings.add(record, found):
                    table.add(row)
    return findings


def report(findings: Findings, spec: Mapping[str, Any], table: Path) -> dict[str, Any]:
    """Return what contamination.json says."""
    shown, total = [], 0
    for row in read_rows(table):
        total += 1
        if len(shown) < SHOWN:
            texts = {key: _shortened(row[key]) for key in ("span", "question")}
            shown.append({**row, **texts})
    return {
        "dataset": spec["dataset"],
        "method": {key: spec[key] for key in ("ngram", "coverage", "own_coverage")},
        "counts": findings.counts(),
        "matches": shown,
        "left_out": total - len(shown),
    }


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]} …"


def sentence(said: Mapping[str, Any], place: Path) -> str:
    """Return one line for the console."""
    counts = said["counts"]
    head = f"{said['dataset']}: {counts['rows']} rows, {counts['questions']} benchmark questions"
    if counts["questions_unchecked"]:
        head += f" ({counts['questions_unchecked']} too short or too common to look for)"
    if not counts["rows_with_overlap"]:
        return f"{head}, no row holds one"
    tasks = ", ".join(
        f"{task} {t['found']} of {t['questions']}"
        for task, t in counts["tasks"].items()
        if t["rows"]
    )
    return (
        f"warning: {head}; {counts['rows_with_overlap']} rows hold questions ({tasks}), "
        f"see {place}; decontaminate.action: drop leaves them out"
    )


def main(argv: list[str]) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__, "train", "datasets", "matches", "report")
    args = parser.parse_args(argv)
    spec = args.spec
    log_no_addresses()
    # datasets keeps what it read, and would give old rows for a path whose file has changed.
    with scratch_folder() as cache:
        os.environ["HF_DATASETS_CACHE"] = str(cache)
        index = QuestionIndex(all_questions(spec, args.datasets), spec["ngram"])
    findings = compare(args.train, index, spec, args.matches)
    said = report(findings, spec, args.matches)
    write_json(args.report, said)
    console().say(sentence(said, args.report))


if __name__ == "__main__":
    run_stage(main)
