"""The table: an edit -> the exact set of jobs that must run after it, and no others.

The edits are made one after the other on one project (project.py), so each starts from a
finished run of the one before. ``expected`` are jobs as "rule wildcards"; a name from GROUPS
stands for several. What is expected follows from what each stage reads, and from whether its
bytes come out differently; no number here was copied from a run.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from staleness.changes import (
    append,
    base_as_folder,
    change_training_row,
    cut,
    damage,
    delete,
    drop_key,
    first_row,
    interrupted,
    made_source,
    move_deeper,
    move_embedding_model,
    no_semantic_step,
    nudge_a_weight,
    other_package,
    raw_files,
    rename_local,
    reorder_keys,
    replace,
    rows_of_a,
    semantic_step,
    set_key,
    swap_rows,
    template_start,
    touch_everything,
    training_row_as_it_was,
    weights_as_they_were,
    write,
    write_rows,
)
from staleness.project import Project, prompt

KEY = "*"  # the templated key; there is one at a time
RUN, BASE = "s.r-2", "t"
EXPORT = f"{RUN}+w8a8"


def measured(model: str) -> set[str]:
    """Return the jobs that measure one model and score what it said."""
    return {
        f"measure_latency {model}",
        f"run_benchmark {model} q",
        f"generate_answers {model}",
        f"score_answers {model}",
        f"measure_loss {model}",
    }


TOLD = {"summarize_results", "check_gates", "keep_history", "build_report"}
# The history reads figures and not which package made them.
TOLD_OF_PACKAGES = TOLD - {"keep_history"}
PAGES = {"report_dataset d", "build_report"}
COMPARED = f"compare_models {RUN} {BASE}"
# A model that changed a little may answer as before: then its scores stand.
ANSWERS = {f"score_answers {BASE}", f"score_answers {RUN}", COMPARED}
TRAINED = {f"train_adapter {RUN}", f"merge_adapter {RUN}"}
JUDGED = f"judge_run {RUN}"


@dataclass(frozen=True)
class Edit:
    """One change by a user, and what must run after it."""

    name: str
    make: Callable[[Project], object]
    expected: set[str] = field(default_factory=set)
    may: set[str] = field(default_factory=set)  # depends on what a model happens to answer
    environment: Callable[[Project], dict[str, str]] = lambda _: {}
    targets: tuple[str, ...] = ()
    # All that would run if everything were asked for, where less is.
    stale: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Let everything that is stale be what runs, unless something else is said."""
        object.__setattr__(self, "stale", self.stale or self.expected)


STEPS = ("datasets", "d", "clean")

NOTHING = [
    Edit("nothing", lambda _: None),
    Edit("comment in the config", append("config/config.yaml", "\n# why\n")),
    Edit("keys reordered", reorder_keys),
    Edit("a default written out", set_key("datasets", "d", "max_rejected_fraction", to=0.9)),
    Edit(
        "a default of a run written out",
        lambda p: (
            set_key("runs", "s", "training", "seed", to=0)(p),
            set_key("runs", "s", "reasoning", to="train")(p),
            set_key("runs", "s", "check_memory", to=False)(p),  # no default; shapes no result
            set_key("bases", "t", "chat_template_kwargs", to={})(p),
            set_key("sources", "a", "reasoning_tags", to=[])(p),
        ),
    ),
    Edit(  # and a tracker: it is told figures, and makes none
        "a description added",
        lambda p: (
            set_key("runs", "s", "description", to="the small one")(p),
            set_key("runs", "s", "training", "report_to", to=["tensorboard"])(p),
        ),
    ),
    Edit(
        "a source that nothing uses",
        lambda p: (
            set_key("sources", "z", to={"path": "raw/a.jsonl"})(p),
            set_key("runs", "s", "training", "report_to", to=[])(p),
        ),
    ),
    Edit("comment in a script", append("scripts/train_adapter.py", "\n# nothing\n")),
    Edit(
        "docstring in a shared module",
        replace(
            "scripts/sftflow/manifests.py",
            '"""Return the hex SHA-256 of a file',
            '"""Give the hex SHA-256 of a file',
        ),
    ),
    Edit(
        "formatting of a shared module",
        replace("scripts/sftflow/manifests.py", 'SUMS = "SHA256SUMS"', "SUMS   =   'SHA256SUMS'"),
    ),
    Edit("a local variable renamed", rename_local),
    Edit("comment in a rule file", append("rules/train.smk", "\n\n# nothing\n")),
    Edit(
        "layout of a rule's command",
        replace("rules/report.smk", " --results results --html", "  --results results   --html"),
    ),
    Edit("comment in a task file", append("raw/tasks/qa.yaml", "# nothing\n")),
    Edit(
        "comment in a list of phrases, empty line in the prompts",
        lambda p: (
            p.append("scripts/lists/phrases.yaml", "# nothing\n"),
            p.append("raw/prompts.jsonl", "\n"),
        ),
    ),
    Edit("a task file that no suite names", append("config/tasks/tickets_json.yaml", "\nx: 1\n")),
    Edit("touch of everything", touch_everything),
    Edit(
        "logs and durations deleted",
        lambda p: (p.delete("results/logs"), p.delete("results/benchmarks")),
    ),
    Edit("Snakemake's own records deleted", delete(".snakemake")),
    Edit("a fresh copy, deeper, with new time stamps", move_deeper),
    Edit("versions not asked any more", set_key("track_versions", to=False)),
    Edit("another version, not asked", lambda _: None, environment=other_package),
    Edit("versions asked again", set_key("track_versions", to=True)),
    Edit("a server option that shapes no answer", set_key("serve", to={"start_timeout_s": 800})),
]

# The answer is not like that of any other row, and no cleaning step minds it.
NEW_ROW = '{"instruction": "Say where the river goes", "output": "to the sea"}\n'
SPLIT = {"ingest_source a", "clean_dataset d", "split_dataset d", "find_contamination d"}
DATA = {*SPLIT, "report_dataset d"}
GROUPED = {"ingest_source a", "clean_dataset d", "split_dataset d"}
TOKENS = {"template_data *"}
TO_TOKENS = ("data", "tokens")
# Both models' losses are measured on training rows too.
RETRAINED = {*TRAINED, *measured(RUN), f"measure_loss {BASE}", COMPARED, JUDGED, *TOLD}
EVERYTHING = {
    "ingest_source a",
    "ingest_source b",
    "clean_dataset d",
    "split_dataset d",
    "find_contamination d",
    *PAGES,
    f"prepare_base {BASE}",
    *TOKENS,
    *TRAINED,
    *measured(BASE),
    *measured(RUN),
    COMPARED,
    JUDGED,
    *TOLD,
}

STOPPED = [
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
    Edit(
        "a real change in a module that every stage imports",
        append("scripts/sftflow/manifests.py", "\nUNUSED = 1\n"),
        {*SPLIT, "ingest_source b"},
        targets=("data",),
        stale=EVERYTHING,
    ),
    Edit(
        "the change taken back",
        lambda p: cut(p, "scripts/sftflow/manifests.py", "\nUNUSED = 1\n"),
        {*SPLIT, "ingest_source b"},
    ),
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
    Edit(
        "a real change in a module that one stage imports",
        append("scripts/sftflow/splitting.py", "\nUNUSED = 1\n"),
        {"split_dataset d"},
    ),
    Edit(
        "a threshold of the verdicts on a training",
        replace("scripts/sftflow/diagnosis.py", "LEAST_FALL = 0.05", "LEAST_FALL = 0.0501"),
        {JUDGED},
    ),
    Edit("a payload deleted", delete("results/datasets/d/train.parquet"), {"split_dataset d"}),
    Edit("a manifest deleted", delete("results/datasets/d/manifest.json"), {"split_dataset d"}),
    Edit("sums deleted", delete(f"results/models/{RUN}/SHA256SUMS"), {f"merge_adapter {RUN}"}),
    Edit("the report deleted", delete("results/report.html"), {"build_report"}),
    Edit("the summary deleted", delete("results/summary.csv"), {"summarize_results"}),
    Edit("scores deleted", delete(f"results/eval/{BASE}/scores.json"), {f"score_answers {BASE}"}),
    Edit(
        "records damaged",
        damage("results/datasets/d/cleaned/records.parquet"),
        {"clean_dataset d"},
    ),
    Edit(
        "rejected rows damaged", damage("results/datasets/d/rejected.parquet"), {"clean_dataset d"}
    ),
    Edit("tokens damaged", damage("results/templated/*/train.parquet"), {"template_data *"}),
    Edit(
        "merged weights damaged",
        damage(f"results/models/{RUN}/model.safetensors"),
        {f"merge_adapter {RUN}"},
    ),
    Edit("adapter deleted", delete(f"results/runs/{RUN}/adapter"), {f"train_adapter {RUN}"}),
    Edit(
        "how benchmark questions are looked for",
        set_key("datasets", "d", "decontaminate", to={"ngram": 12}),
        {"find_contamination d", *PAGES},  # the page of all shows the settings
    ),
    Edit(
        "rows with benchmark questions dropped, and there are none",
        set_key("datasets", "d", "decontaminate", to={"ngram": 12, "action": "drop"}),
        {"mix_dataset d", "template_data *", *PAGES},
    ),
    Edit(
        "benchmark questions as before",
        drop_key("datasets", "d", "decontaminate"),
        {"find_contamination d", *PAGES, "template_data *"},
    ),
    Edit(
        "the mix of the sources",
        set_key("datasets", "d", "mix", to={"b": {"ratio": 0.2}}),
        {"mix_dataset d", "report_dataset d", *TOKENS},
        targets=("tokens",),
        stale={"mix_dataset d", "report_dataset d", *TOKENS, *RETRAINED},
    ),
    Edit(
        "no mix again, before a training saw it",
        drop_key("datasets", "d", "mix"),
        {"report_dataset d", *TOKENS},
    ),
    # Every row in a group of its own: the same rows on each side, so the same tokens. The export of
    # the merged model is made of that, and taken back before it is measured.
    Edit(
        "a group column switched on",
        lambda p: (
            set_key("sources", "a", "columns", to={"group": "instruction"})(p),
            set_key("runs", "s", "quantize", to=["w8a8"])(p),
        ),
        {*GROUPED, *TOKENS, f"quantize_model {EXPORT}"},
        targets=("models",),
        stale={
            *(*DATA, *TOKENS, *RETRAINED),
            *(f"quantize_model {EXPORT}", *measured(EXPORT)),
            *(f"compare_models {EXPORT} {other}" for other in (BASE, RUN)),
        },
    ),
    Edit(
        "the group column off again",
        lambda p: (
            drop_key("sources", "a", "columns")(p),
            drop_key("runs", "s", "quantize")(p),
        ),
        {*GROUPED, *TOKENS},
    ),
    # No two rows are as alike as that, and none means the same as another: the bytes stay.
    Edit(
        "how alike rows on two sides of the split may be",
        set_key("datasets", "d", "split", "near_duplicates", to=0.9),
        {"split_dataset d", *PAGES},
    ),
    Edit(
        "rows that mean the same looked for",
        semantic_step,
        {"clean_dataset d", "map_dataset d", *PAGES},
    ),
    # The page of all shows the settings.
    Edit(
        "the embedding model moved, and a card in its folder",
        move_embedding_model,
        {"build_report"},
    ),
    Edit("rows that mean the same left alone", no_semantic_step, {"clean_dataset d", *PAGES}),
    Edit(
        "rows asked of a model",
        made_source,
        {"make_source m", "ingest_source m", *(DATA - {"ingest_source a"}), *TOKENS},
        targets=TO_TOKENS,
        stale={
            *("make_source m", "ingest_source m"),
            *(DATA - {"ingest_source a"}),
            *TOKENS,
            *RETRAINED,
        },
    ),
    Edit(
        "bounds of what is asked",
        set_key("sources", "m", "make", "limits", to={"max_retries": 5}),
        targets=TO_TOKENS,
    ),
    # The replies have other seeds and digests, and say the same.
    Edit(
        "the temperature of what is asked",
        set_key("sources", "m", "make", "temperature", to=0.5),
        {"make_source m", "ingest_source m"},
        targets=TO_TOKENS,
    ),
    Edit(
        "nothing asked any more, before a training saw it",
        set_key("datasets", "d", "sources", to=["a", "b"]),
        {*(DATA - {"ingest_source a"}), *TOKENS},
    ),
    Edit("an interrupted run continued", interrupted, {"build_report"}),
    Edit(
        "the page's title, and a gate",
        lambda p: (
            set_key("title", to="smaller")(p),
            set_key("gates", "rules", to=["exact_match >= 0"])(p),
        ),
        {"check_gates", "build_report"},
    ),
    Edit(
        "another version of a package",
        lambda _: None,
        {*ANSWERS, *TOLD_OF_PACKAGES},
        environment=other_package,
    ),
    Edit(
        "the package as it was",
        lambda _: None,
        {*ANSWERS, *TOLD_OF_PACKAGES},
    ),
]

CHANGED = [
    Edit(
        "a held-out text, and how many rows may be recited",
        lambda p: (
            p.append("raw/general.txt", "The dog sat too."),
            set_key("memorisation", to={"rows": 5})(p),
        ),
        {f"measure_loss {BASE}", f"measure_loss {RUN}", COMPARED, JUDGED, *TOLD},
    ),
    Edit(
        "the metrics of a dataset, and a limit on latency",
        lambda p: (
            set_key("datasets", "d", "metrics", to=["exact_match"])(p),
            set_key("latency", "slo", to={"ttft_ms": 50})(p),
        ),
        {*ANSWERS, *TOLD},
    ),
    Edit(
        "a prompt set, a task, and the latency grid",
        lambda p: (
            p.append("raw/prompts.jsonl", prompt("Say 8 twice")),
            p.replace("raw/tasks/qa.yaml", "max_gen_toks: 4", "max_gen_toks: 5"),
            set_key("latency", "requests_per_cell", to=3)(p),
        ),
        {
            f"{rule} {model}{end}"
            for rule, end in (
                ("measure_latency", ""),
                ("run_benchmark", " q"),
                ("generate_answers", ""),
                ("score_answers", ""),
            )
            for model in (BASE, RUN)
        }
        | {COMPARED, JUDGED, *TOLD},
    ),
    Edit(
        "a new run in the sweep",
        set_key("runs", "s", "sweep", to={"lora.r": [2, 4]}),
        {
            *("train_adapter s.r-4", "merge_adapter s.r-4", "judge_run s.r-4"),
            *measured("s.r-4"),
            f"compare_models s.r-4 {BASE}",
            *TOLD,
        },
    ),
    Edit("a run removed", set_key("runs", "s", "sweep", to={"lora.r": [2]}), TOLD),
    Edit(
        "the learning rate",
        set_key("runs", "s", "training", "learning_rate", to=0.01),
        {*TRAINED, *(measured(RUN) - ANSWERS), COMPARED, JUDGED, *TOLD},
        may=ANSWERS,
    ),
    Edit(
        "the chat template",
        replace(
            "raw/chat.jinja",
            template_start(),
            "{#- other bytes, same tokens -#}" + template_start(),
        ),
        {
            f"prepare_base {BASE}",
            "template_data *",
            f"merge_adapter {RUN}",
            "report_dataset d",  # it shows the manifest, which names the template's digest
            *((measured(RUN) | measured(BASE)) - ANSWERS),
            *TOLD,
        },
        may={*ANSWERS, JUDGED},
    ),
]


TABLE = [*NOTHING, *STOPPED, *CHANGED]

# These undo the edit before them, or are made by running sftflow: no edits of stock Snakemake's.
CONTINUED = {
    "moved back",
    "the step off and on again",
    "the row taken back before a training saw it",
    "the row as it was",
    "the rows put back in their places",
    "the change taken back",
    "a model card in the base's folder",
    "a weight in the base's folder",
    "the weight as it was",
    "the package as it was",
    "benchmark questions as before",
    "no mix again, before a training saw it",
    "the group column off again",
    "the embedding model moved, and a card in its folder",
    "rows that mean the same left alone",
    "bounds of what is asked",
    "the temperature of what is asked",
    "nothing asked any more, before a training saw it",
    "a run removed",
    "an interrupted run continued",
}


def missed(ran: Iterable[str], expected: Iterable[str]) -> set[str]:
    """Return the expected jobs that did not run; ``*`` in a job stands for any text."""
    ran = list(ran)
    return {job for job in expected if not any(fnmatch.fnmatchcase(one, job) for one in ran)}


def unnecessary(ran: Iterable[str], expected: Iterable[str]) -> set[str]:
    """Return the jobs that ran though they need not."""
    expected = list(expected)
    return {one for one in ran if not any(fnmatch.fnmatchcase(one, job) for job in expected)}
