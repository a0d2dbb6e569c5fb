"""answers -> scores; model -> loss on held-out rows and texts; everything -> summary.csv.

needs:  results/eval/{model}/, results/models/{model}/, results/templated/{key}/
makes:  results/eval/{model}/{scores,loss}.json, results/summary.csv
"""


def score_spec(wildcards):
    """Return the metrics of each prompt set of a model; null lets the references decide."""
    sets = {
        name: {"metrics": CONFIG["datasets"][name]["metrics"]}
        for name in plan.model_datasets(CONFIG, wildcards.model)
    }
    if CONFIG["generation"]["prompts"] is not None:
        sets["prompts"] = {"metrics": None}
    return spec_text(model=wildcards.model, sets=sets)


def model_answers(wildcards):
    """Return a model's answers."""
    return settled(
        "generate_answers",
        "results/eval/{model}/generations.jsonl",
        model=wildcards.model,
    )


def loss_spec(wildcards):
    """Return the texts on which a model's loss is measured."""
    texts = {name: work_path(path) for name, path in CONFIG["texts"].items()}
    return spec_text(model=wildcards.model, texts=texts)


def texts_digest(wildcards):
    """Return what those texts say."""
    return sha256_json(
        {name: sha256_file(work_path(p)) for name, p in CONFIG["texts"].items()}
    )


def loss_data(wildcards):
    """Return the gates of the tokens on whose validation rows a model's loss is measured."""
    return [
        path
        for key in plan.model_keys(CONFIG, wildcards.model)
        for path in settled(
            "template_data", "results/templated/{key}/SHA256SUMS", key=key
        )
    ]


def all_measurements(wildcards):
    """Return every file of results/eval that the config asks for."""
    wanted = []
    for model in MODELS:
        wanted += settled(
            "measure_latency", "results/eval/{model}/latency.json", model=model
        )
        wanted += settled(
            "score_answers", "results/eval/{model}/scores.json", model=model
        )
        wanted += settled("measure_loss", "results/eval/{model}/loss.json", model=model)
        for suite in plan.model_suites(CONFIG, model):
            pattern = "results/eval/{model}/benchmark/{suite}.json"
            wanted += settled("run_benchmark", pattern, model=model, suite=suite)
    return wanted


def all_runs(wildcards):
    """Return the manifests of every training."""
    return [
        path
        for run in RUNS
        for path in settled(
            "train_adapter", "results/runs/{run}/manifest.json", run=run
        )
    ]


def models_spec():
    """Return what each model is and what was asked of it."""
    entries = []
    for model in MODELS:
        run = CONFIG["runs"].get(model)
        entries.append(
            {
                "name": model,
                "kind": "tuned" if run else "base",
                "base": run["base"] if run else None,
                "run": model if run else None,
                "dataset": run["dataset"] if run else None,
                "suites": plan.model_suites(CONFIG, model),
                "datasets": plan.model_datasets(CONFIG, model),
                "templated": plan.model_keys(CONFIG, model),
            }
        )
    return entries


checkpoint score_answers:
    """Score a model's answers against the references."""
    input:
        generations=model_answers,
    output:
        scores="results/eval/{model}/scores.json",
    log:
        "results/logs/score_answers/{model}.log",
    benchmark:
        "results/benchmarks/score_answers/{model}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("score_answers", "scores"),
        spec=score_spec,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/score_answers.py" --spec {params.spec:q} --log {log}'
        " --generations {input.generations} --scores {output.scores}"


checkpoint measure_loss:
    """Measure a model's loss on validation rows and on held-out general texts."""
    input:
        model=served_model,
        data=loss_data,
    output:
        loss="results/eval/{model}/loss.json",
    log:
        "results/logs/measure_loss/{model}.log",
    benchmark:
        "results/benchmarks/measure_loss/{model}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: all_cores
    resources:
        gpu=1,
    params:
        code=code("measure_loss", "merge"),
        spec=loss_spec,
        texts=texts_digest,
        model="results/models/{model}",
        templated=lambda wildcards, input: [
            os.path.dirname(path) for path in input.data
        ],
    shell:
        'exec python "$SFTFLOW_HOME/scripts/measure_loss.py" --spec {params.spec:q} --log {log}'
        " --model {params.model} --templated {params.templated} --loss {output.loss}"


checkpoint summarize_results:
    """Put every figure into one table: a row per model and metric."""
    input:
        measurements=all_measurements,
        runs=all_runs,
    output:
        summary="results/summary.csv",
    log:
        "results/logs/summarize_results.log",
    benchmark:
        "results/benchmarks/summarize_results.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("summarize_results", "report"),
        spec=spec_text(models=models_spec()),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/summarize_results.py" --spec {params.spec:q}'
        " --log {log} --results results --summary {output.summary}"
