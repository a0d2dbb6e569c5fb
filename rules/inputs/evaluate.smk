"""What scores, losses and the summary read and rest on: input and params functions. No rules here."""


def scored_sets(model):
    """Return the metrics of each prompt set of a model; null lets the references decide."""
    in_context = plan.in_context_models(CONFIG)
    base, _ = in_context.get(model, (model, 0))
    sets = {
        name: {"metrics": CONFIG["datasets"][name]["metrics"]}
        for name in plan.model_datasets(CONFIG, base)
    }
    if CONFIG["generation"]["prompts"] is not None and model not in in_context:
        sets["prompts"] = {"metrics": None}
    return sets


def score_spec(wildcards):
    """Return what is scored of a model, and by which metrics."""
    return spec_text(model=wildcards.model, sets=scored_sets(wildcards.model))


def loss_spec(wildcards):
    """Return the texts on which a model's loss is measured, and what may be recited."""
    return spec_text(
        model=wildcards.model,
        texts=CONFIG["texts"],
        memorisation=CONFIG["memorisation"],
    )


def texts_digest(wildcards):
    """Return what those texts say."""
    return sha256_json(
        {name: content_digest(project_path(p)) for name, p in CONFIG["texts"].items()}
    )


def loss_rows(wildcards):
    """Return the tokens of the rows on which a model's loss is measured."""
    keys = plan.model_keys(CONFIG, wildcards.model)
    sides = (
        ["validation", "train"] if CONFIG["memorisation"]["rows"] else ["validation"]
    )
    return [f"results/templated/{key}/{side}.parquet" for key in keys for side in sides]


def start_losses(wildcards):
    """Return the losses of the model that a run starts from."""
    return f"results/eval/{plan.start_of(CONFIG, wildcards.run)}/loss.json"


def trained_losses(wildcards):
    """Return the losses of the model that a run has made."""
    return f"results/eval/{plan.forms(CONFIG, wildcards.run)[0]}/loss.json"


def start_answers(wildcards):
    """Return the answers of the model that a run starts from."""
    return f"results/eval/{plan.start_of(CONFIG, wildcards.run)}/generations.jsonl"


def trained_answers(wildcards):
    """Return the answers of the model that a run has made."""
    return f"results/eval/{plan.forms(CONFIG, wildcards.run)[0]}/generations.jsonl"


def loss_adapter(wildcards, input):
    """Return the option that names the adapter of a model that is not merged."""
    return f"--adapter {input.model[1]}" if plan.is_adapter(wildcards.model) else ""


def run_preferences(wildcards):
    """Return what was measured of a run on preference pairs, as a list: of others there is none."""
    on_pairs = wildcards.run in plan.preference_runs(CONFIG)
    return [f"results/runs/{wildcards.run}/preferences.json"] if on_pairs else []


def judge_spec(wildcards):
    """Return the rows by which a run is judged."""
    key = plan.templated_key(CONFIG, wildcards.run)
    return spec_text(run=wildcards.run, templated=key)


def all_verdicts(wildcards):
    """Return the verdicts on every training whose model is measured."""
    runs = plan.measured_runs(CONFIG)
    return [f"results/runs/{run}/verdicts.json" for run in runs]


def all_measurements(wildcards):
    """Return every file of results/eval that the config asks for."""
    wanted = []
    for model in MODELS:
        folder = f"results/eval/{model}"
        suites = [f"benchmark/{suite}" for suite in plan.model_suites(CONFIG, model)]
        wanted += [f"{folder}/{n}.json" for n in ("latency", "scores", "loss", *suites)]
    return [*wanted, *all_in_context("scores.json")]


def limited_requests(wildcards):
    """Return the timed requests of every model, where there is a limit to hold them against."""
    limits = {k: v for k, v in CONFIG["latency"]["slo"].items() if k != "attainment"}
    if not any(limits.values()):
        return []
    return [f"results/eval/{model}/latency_requests.parquet" for model in MODELS]


def all_preferences(wildcards):
    """Return what was measured of every training on preference pairs."""
    return [
        f"results/runs/{run}/preferences.json" for run in plan.preference_runs(CONFIG)
    ]


def all_runs(wildcards):
    """Return the manifests of every training."""
    return [f"results/runs/{run}/manifest.json" for run in RUNS]


def models_spec():
    """Return what each model is and what was asked of it."""
    entries, preferred = [], plan.preference_runs(CONFIG)
    for model in MODELS:
        name = plan.run_of(CONFIG, model)
        entries.append(
            {
                "name": model,
                "kind": "tuned" if name else "base",
                "base": plan.start_of(CONFIG, model),
                "run": name,
                "dataset": CONFIG["runs"][name]["dataset"] if name else None,
                "suites": plan.model_suites(CONFIG, model),
                "datasets": plan.model_datasets(CONFIG, model),
                "templated": plan.model_keys(CONFIG, model),
                **({"preferences": True} if name in preferred else {}),
                **({"form": form} if (form := plan.form_of(model)) else {}),
            }
        )
    return entries


def in_context_entries():
    """Return what each base with examples in its prompt is; it has scores and nothing else."""
    return [
        {
            "name": name,
            "kind": "base",
            "base": base,
            "examples": count,
            "suites": [],
            "datasets": plan.model_datasets(CONFIG, base),
        }
        for name, (base, count) in plan.in_context_models(CONFIG).items()
    ]
