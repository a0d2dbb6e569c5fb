"""summary, manifests, answers -> the page.

needs:  everything under results/
makes:  results/report.html
"""


def all_manifests(wildcards):
    """Return the manifests whose counts the page shows."""
    wanted = []
    for source in {s for d in CONFIG["datasets"].values() for s in d["sources"]}:
        wanted += settled(
            "ingest_source", "results/sources/{source}/manifest.json", source=source
        )
    for dataset in CONFIG["datasets"]:
        folder = "results/datasets/{dataset}"
        wanted += settled(
            "clean_dataset", f"{folder}/cleaned/manifest.json", dataset=dataset
        )
        wanted += settled("split_dataset", f"{folder}/manifest.json", dataset=dataset)
    for key in TEMPLATED:
        wanted += settled(
            "template_data", "results/templated/{key}/manifest.json", key=key
        )
    for base in sorted(set(MODELS) & set(BASES)):
        wanted += settled(
            "prepare_base", "results/models/{base}/manifest.json", base=base
        )
    for run in RUNS:
        wanted += settled(
            "merge_adapter", "results/models/{run}/manifest.json", run=run
        )
    return sorted(wanted)


def all_answers(wildcards):
    """Return the answers that the page shows side by side."""
    return [
        path
        for model in MODELS
        for path in settled(
            "generate_answers", "results/eval/{model}/generations.jsonl", model=model
        )
    ]


def report_spec():
    """Return what was asked for, as the page tells it."""
    kept = {
        k: CONFIG[k]
        for k in ("title", "sources", "datasets", "runs", "suites", "latency")
    }
    sources = {name: {"path": s["path"]} for name, s in kept.pop("sources").items()}
    return spec_text(models=models_spec(), templated=TEMPLATED, sources=sources, **kept)


checkpoint build_report:
    """Show everything on one self-contained page."""
    input:
        summary=lambda wildcards: settled("summarize_results", "results/summary.csv"),
        measurements=all_measurements,
        runs=all_runs,
        manifests=all_manifests,
        answers=all_answers,
    output:
        html="results/report.html",
    log:
        "results/logs/build_report.log",
    benchmark:
        "results/benchmarks/build_report.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("build_report", "report"),
        spec=report_spec(),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/build_report.py" --spec {params.spec:q} --log {log}'
        " --results results --html {output.html}"
