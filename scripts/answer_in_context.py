"""Let a served base answer test rows with training rows as examples in its prompt.

reads   server.json of a running server; the model folder; dataset folders (test.parquet) and, in
        the same order, the folders of what trainings read (train.parquet)
writes  generations.jsonl as generate_answers does, with the same prompts; ``examples`` are the ids
        of the training rows that stood before each, the nearest last
stops   if a dataset has fewer rows to show than asked for, or if a test row's prompt is in the
        training rows too

Examples for which there is no room beside the answer are left out, the furthest first, and
counted. All else is asked as generate_answers asks it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from generate_answers import Prompt, prompts_of, run
from sftflow.incontext import Example, check_apart, chooser, drawn, fitting, with_examples
from sftflow.manifests import write_text
from sftflow.records import read_rows
from sftflow.serving import Server, served
from sftflow.stage import StageError, console, run_stage, stage_parser


def example_pool(name: str, training: Path, dataset: Path, spec: dict[str, Any]) -> list[Example]:
    """Return the training rows of a dataset that may be shown; see incontext.drawn."""
    most = spec["pool"] if spec["choose"] == "similar" else spec["examples"]
    pool = drawn(read_rows(training / "train.parquet"), most, spec["seed"])
    if len(pool) < spec["examples"]:
        raise StageError(
            f"dataset {name}: {len(pool)} training rows with different prompts can be shown as "
            f"examples, {spec['examples']} are asked for; lower generation.in_context.examples"
        )
    check_apart(pool, read_rows(dataset / "test.parquet", ["id", "messages"]), name)
    return pool


def shown(
    server: Server, prompts: Sequence[Prompt], pool: Sequence[Example], spec: dict[str, Any]
) -> list[tuple[Prompt, list[Example]]]:
    """Return each prompt with the examples that stand before it."""
    chosen = chooser(pool, spec["examples"], spec["choose"])
    room = server.max_model_len - spec["max_new_tokens"]
    found = []
    for prompt in prompts:

        def fits(messages: Any, tools: Any = prompt.tools) -> bool:
            return len(server.prompt_ids(messages, tools)) <= room

        found.append((prompt, fitting(prompt.messages, chosen(prompt.messages), fits)))
    return found


def main(argv: list[str]) -> None:
    """Read the prompts, put examples before them, ask, write."""
    parser = stage_parser(__doc__, "endpoint", "model", "generations")
    parser.add_argument("--datasets", type=Path, nargs="+", required=True, help="for test rows")
    parser.add_argument("--training", type=Path, nargs="+", required=True, help="for examples")
    args = parser.parse_args(argv)
    spec = args.spec
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line per request
    folders = {folder.name: folder for folder in args.datasets}
    sets = [
        (prompts_of(one, folders), example_pool(one["dataset"], training, folder, spec))
        for one, folder, training in zip(spec["sets"], args.datasets, args.training, strict=True)
    ]
    with served(args.endpoint, args.model) as server:
        asked = [pair for prompts, pool in sets for pair in shown(server, prompts, pool, spec)]
        full = [replace(p, messages=with_examples(p.messages, some)) for p, some in asked]
        rows = run(server, full, spec)
    for row, (prompt, examples) in zip(rows, asked, strict=True):
        row |= {"messages": prompt.messages, "examples": [example.id for example in examples]}
    write_text(
        args.generations, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    )
    fewer = sum(len(row["examples"]) < spec["examples"] for row in rows)
    console().say(
        f"{len(rows)} answers with {spec['examples']} examples"
        + (f", {fewer} of them with fewer, for want of room" if fewer else "")
    )


if __name__ == "__main__":
    run_stage(main)
