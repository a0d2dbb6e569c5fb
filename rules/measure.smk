"""server -> latency, benchmark, answers.

needs:  results/models/{model}/, results/eval/{model}/server.json
makes:  results/eval/{model}/: latency.json, benchmark/{suite}.json, generations.jsonl

The rules have `threads: 0`: they wait for the server, which has the cores. Each goes stale
alone, and whatever is stale shares one start of the server.
"""


def latency_spec(wildcards):
    """Return the grid, and the server's settings, on which the figures rest."""
    return spec_text(model=wildcards.model, serve=CONFIG["serve"], **CONFIG["latency"])


def suite_spec(wildcards):
    """Return what one suite asks of one model."""
    entry = {
        k: v for k, v in CONFIG["suites"][wildcards.suite].items() if k != "description"
    }
    if entry["folder"] is not None:
        entry["folder"] = work_path(entry["folder"])
    return spec_text(model=wildcards.model, suite=wildcards.suite, **entry)


def suite_tasks(wildcards):
    """Return the content of a suite's own task files, without comments and layout."""
    entry = CONFIG["suites"][wildcards.suite]
    if entry["folder"] is None:
        return None
    files, _ = task_files(work_path(entry["folder"]))
    return sha256_json([read_task(files[task]) for task in entry["tasks"]])


def suite_dataset(wildcards):
    """Return the gate of the dataset whose test rows a suite reads, if it reads one."""
    dataset = CONFIG["suites"][wildcards.suite]["dataset"]
    if dataset is None:
        return []
    return settled(
        "split_dataset", "results/datasets/{dataset}/SHA256SUMS", dataset=dataset
    )


def suite_dataset_option(wildcards):
    """Return the option that names that dataset's folder."""
    dataset = CONFIG["suites"][wildcards.suite]["dataset"]
    return "" if dataset is None else f"--dataset results/datasets/{dataset}"


def answered_sets(wildcards):
    """Return the prompt sets that a model answers."""
    asked = CONFIG["generation"]
    sets = [
        {
            "name": name,
            "dataset": name,
            "split": "test",
            "path": None,
            "limit": asked["test_rows"],
        }
        for name in plan.model_datasets(CONFIG, wildcards.model)
    ]
    if asked["prompts"] is not None:
        path = work_path(asked["prompts"])
        sets.append(
            {
                "name": "prompts",
                "dataset": None,
                "split": None,
                "path": path,
                "limit": None,
            }
        )
    return sets


def generate_spec(wildcards):
    """Return what a model is asked, and how."""
    asked = CONFIG["generation"]
    return spec_text(
        model=wildcards.model,
        sets=answered_sets(wildcards),
        max_new_tokens=asked["max_new_tokens"],
        concurrency=asked["concurrency"],
    )


def prompts_digest(wildcards):
    """Return the content of the fixed prompt set."""
    path = CONFIG["generation"]["prompts"]
    return None if path is None else sha256_file(work_path(path))


def answered_datasets(wildcards):
    """Return the gates of the datasets whose test rows a model answers."""
    return [
        path
        for dataset in plan.model_datasets(CONFIG, wildcards.model)
        for path in settled(
            "split_dataset", "results/datasets/{dataset}/SHA256SUMS", dataset=dataset
        )
    ]


checkpoint measure_latency:
    """Measure TTFT, TPOT and end-to-end time over a grid, alone with the server."""
    input:
        server="results/eval/{model}/server.json",
        model=served_model,
    output:
        latency="results/eval/{model}/latency.json",
        requests="results/eval/{model}/latency_requests.parquet",
    log:
        "results/logs/measure_latency/{model}.log",
    benchmark:
        "results/benchmarks/measure_latency/{model}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: 0
    params:
        code=code("measure_latency", "serve") + code("serve_model", "serve"),
        spec=latency_spec,
        model="results/models/{model}",
    shell:
        'exec python "$SFTFLOW_HOME/scripts/measure_latency.py" --spec {params.spec:q} --log {log}'
        " --endpoint {input.server} --model {params.model} --latency {output.latency}"
        " --requests {output.requests}"


checkpoint run_benchmark:
    """Run one suite of lm-eval tasks through the server."""
    input:
        server="results/eval/{model}/server.json",
        model=served_model,
        dataset=suite_dataset,
    output:
        benchmark="results/eval/{model}/benchmark/{suite}.json",
        samples="results/eval/{model}/benchmark/{suite}.samples.jsonl",
    log:
        "results/logs/run_benchmark/{model}.{suite}.log",
    benchmark:
        "results/benchmarks/run_benchmark/{model}.{suite}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: 0
    params:
        code=code("run_benchmark", "lm_eval") + code("serve_model", "serve"),
        spec=suite_spec,
        tasks=suite_tasks,
        dataset=suite_dataset_option,
        model="results/models/{model}",
    shell:
        'exec python "$SFTFLOW_HOME/scripts/run_benchmark.py" --spec {params.spec:q} --log {log}'
        " --endpoint {input.server} --model {params.model} {params.dataset}"
        " --benchmark {output.benchmark} --samples {output.samples}"


checkpoint generate_answers:
    """Answer the test rows and the fixed prompts."""
    input:
        server="results/eval/{model}/server.json",
        model=served_model,
        datasets=answered_datasets,
    output:
        generations="results/eval/{model}/generations.jsonl",
    log:
        "results/logs/generate_answers/{model}.log",
    benchmark:
        "results/benchmarks/generate_answers/{model}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: 0
    params:
        code=code("generate_answers", "serve") + code("serve_model", "serve"),
        spec=generate_spec,
        prompts=prompts_digest,
        datasets=lambda wildcards, input: [
            os.path.dirname(path) for path in input.datasets
        ],
        model="results/models/{model}",
    shell:
        'exec python "$SFTFLOW_HOME/scripts/generate_answers.py" --spec {params.spec:q} --log {log}'
        " --endpoint {input.server} --model {params.model} --datasets {params.datasets}"
        " --generations {output.generations}"
