"""Edits of the config: of a source, a dataset, a run, and of what is measured."""

from __future__ import annotations

from staleness.changes import (
    append,
    drop_key,
    made_source,
    move_embedding_model,
    no_semantic_step,
    reorder_keys,
    replace,
    semantic_step,
    set_key,
    template_start,
)
from staleness.edit import Edit
from staleness.jobs import (
    ANSWERS,
    BASE,
    COMPARED,
    DATA,
    EXPORT,
    GROUPED,
    JUDGED,
    PAGES,
    RETRAINED,
    RUN,
    TO_TOKENS,
    TOKENS,
    TOLD,
    TRAINED,
    measured,
)
from staleness.project import prompt

SAME = [
    Edit("nothing", lambda _: None),
    Edit("comment in the config", append("config/config.yaml", "\n# why\n")),
    Edit("keys reordered", reorder_keys),
    Edit(  # and a number in another way
        "a default written out",
        lambda p: (
            set_key("datasets", "d", "max_rejected_fraction", to=0.9)(p),
            set_key("datasets", "d", "split", "validation", to=8.0)(p),
        ),
    ),
    Edit(
        "a default of a run written out",
        lambda p: (
            set_key("runs", "s", "training", "seed", to=0)(p),
            set_key("runs", "s", "training", "optim", to="adamw_torch_fused")(p),
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
    Edit("a server option that shapes no answer", set_key("serve", to={"start_timeout_s": 800})),
]

STOPPED = [
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
    Edit(
        "the page's title, and a gate",
        lambda p: (
            set_key("title", to="smaller")(p),
            set_key("gates", "rules", to=["exact_match >= 0"])(p),
        ),
        {"check_gates", "build_report"},
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
