"""Edits of what the config names: raw files, tasks, prompts, the folder of a base."""

from __future__ import annotations

from staleness.changes import (
    append,
    base_as_folder,
    change_training_row,
    first_row,
    nudge_a_weight,
    raw_files,
    rows_of_a,
    set_key,
    swap_rows,
    training_row_as_it_was,
    weights_as_they_were,
    write,
    write_rows,
)
from staleness.edit import Edit
from staleness.jobs import BASE, DATA, PAGES, RETRAINED, TO_TOKENS, TOKENS, TRAINED, measured

# The answer is not like that of any other row, and no cleaning step minds it.
NEW_ROW = '{"instruction": "Say where the river goes", "output": "to the sea"}\n'

STEPS = ("datasets", "d", "clean")

SAME = [
    Edit("comment in a task file", append("raw/tasks/qa.yaml", "# nothing\n")),
    Edit(
        "comment in a list of phrases, empty line in the prompts",
        lambda p: (
            p.append("scripts/lists/phrases.yaml", "# nothing\n"),
            p.append("raw/prompts.jsonl", "\n"),
        ),
    ),
    Edit("a task file that no suite names", append("config/tasks/tickets_json.yaml", "\nx: 1\n")),
]

CHANGED = [
    # The page names the files of the sources.
    Edit("raw files, texts and tasks moved", raw_files("raw", "input"), {"build_report"}),
    Edit("moved back", raw_files("input", "raw"), {"build_report"}),
    Edit(
        "white space in a raw file",
        lambda p: p.path("raw/a.jsonl").write_text(
            p.path("raw/a.jsonl").read_text().replace('": "', '":  "')
        ),
        {"ingest_source a"},
    ),
    Edit(
        "a duplicate row at the end",
        lambda p: p.append("raw/a.jsonl", first_row(p)),
        {"ingest_source a", "clean_dataset d", *PAGES},
    ),
    Edit(
        "a cleaning step that finds nothing",
        set_key(*STEPS, 1, "max_answer_chars", to=4000),
        {"clean_dataset d", *PAGES},
    ),
    Edit(
        "the step off and on again",
        set_key(*STEPS, 1, "max_answer_chars", to=8192),
        {"clean_dataset d", *PAGES},
    ),
    Edit(
        "a row added",
        lambda p: p.append("raw/a.jsonl", NEW_ROW),
        {*DATA, *TOKENS},
        targets=TO_TOKENS,
        stale={*DATA, *TOKENS, *RETRAINED},
    ),
    Edit(
        "the row taken back before a training saw it",
        lambda p: write_rows(p, [row for row in rows_of_a(p) if row != NEW_ROW]),
        {*DATA, *TOKENS},
    ),
    Edit(
        "a training row changed",
        change_training_row,
        {*DATA, *TOKENS},
        targets=TO_TOKENS,
        stale={*DATA, *TOKENS, *RETRAINED},
    ),
    Edit("the row as it was", training_row_as_it_was, {*DATA, *TOKENS}),
    Edit(
        "two rows change places",
        swap_rows,
        {*DATA, *TOKENS},
        targets=TO_TOKENS,
        stale={*DATA, *TOKENS, *RETRAINED},
    ),
    Edit("the rows put back in their places", swap_rows, {*DATA, *TOKENS}),
    # The page tells where a base came from.
    Edit(
        "the base given as a folder",
        base_as_folder,
        {f"prepare_base {BASE}", "build_report"},
    ),
    Edit("a model card in the base's folder", write("raw/base/README.md", "# A model\n")),
    Edit(
        "a weight in the base's folder",
        nudge_a_weight,
        {f"prepare_base {BASE}", *TRAINED},
        targets=("models",),
        stale={f"prepare_base {BASE}", *RETRAINED, *measured(BASE)},
    ),
    Edit("the weight as it was", weights_as_they_were, {f"prepare_base {BASE}", *TRAINED}),
]
