"""What the page read and rest on: input and params functions. No rules here."""

UNTOLD = (
    "description",
    "check_memory",
)  # keys of the config that the page does not show


def all_manifests(wildcards):
    """Return the manifests whose counts the page shows."""
    sources = {s for d in CONFIG["datasets"].values() for s in d["sources"]}
    wanted = [f"sources/{source}" for source in sources]
    for dataset in CONFIG["datasets"]:
        wanted += [f"datasets/{dataset}/cleaned", f"datasets/{dataset}"]
    wanted += [f"templated/{key}" for key in TEMPLATED]
    wanted += [f"models/{model}" for model in MODELS if not plan.is_adapter(model)]
    return sorted(f"results/{folder}/manifest.json" for folder in wanted)


def all_portraits(wildcards):
    """Return the figures of every dataset."""
    return [
        f"results/datasets/{dataset}/portrait.json" for dataset in CONFIG["datasets"]
    ]


def all_answers(wildcards):
    """Return the answers that the page shows side by side."""
    return [f"results/eval/{model}/generations.jsonl" for model in MODELS]


def report_spec():
    """Return what was asked for, as the page tells it."""
    used = {
        "sources": {
            s for entry in CONFIG["datasets"].values() for s in entry["sources"]
        },
        "datasets": set(CONFIG["datasets"]),
        "runs": set(RUNS),
        "suites": {s for model in MODELS for s in plan.model_suites(CONFIG, model)},
    }
    kept = {
        part: {
            name: {k: v for k, v in CONFIG[part][name].items() if k not in UNTOLD}
            for name in CONFIG[part]
            if name in used[part]
        }
        for part in used
    }
    kept["sources"] = {name: {"path": s["path"]} for name, s in kept["sources"].items()}
    kept["runs"] = {
        name: {**run, "training": training_settings(run)}
        for name, run in kept["runs"].items()
    }
    return spec_text(
        title=CONFIG["title"],
        slo=CONFIG["latency"]["slo"],
        comparisons=plan.comparisons(CONFIG),
        gates=CONFIG["gates"]["rules"],
        models=models_spec(),
        sweeps=plan.sweeps(CONFIG),
        in_context=in_context_entries(),
        **opinions_spec(),
        templated=TEMPLATED,
        questions=[
            d for d in sorted(CONFIG["datasets"]) if plan.keeps_questions(CONFIG, d)
        ],
        **kept,
    )
