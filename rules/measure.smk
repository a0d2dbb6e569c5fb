"""server -> latency, benchmark, answers.

needs:  results/models/{model}/, results/eval/{model}/server.json; of an adapter the folder of the
        model that it was trained on, and results/adapters/{start}/server.json
makes:  results/eval/{model}/: latency.json, benchmark/{suite}.json, generations.jsonl

The rules have `threads: 0`: they wait for the server, which has the cores. Each goes stale
alone, and whatever is stale shares one start of the server.
"""


include: "inputs/measure.smk"


rule measure_latency:
    """Measure TTFT, TPOT and end-to-end time over a grid, alone with the server."""
    input:
        server=model_server,
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
        code=code("measure_latency") + code("serve_model"),
        packages=packages("serve", "statistics"),
        spec=latency_spec,
        model=model_folder,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/measure_latency.py" --spec {params.spec:q} --log {log}'
        " --endpoint {input.server} --model {params.model} --latency {output.latency}"
        " --requests {output.requests}"


rule run_benchmark:
    """Run one suite of lm-eval tasks through the server."""
    input:
        server=model_server,
        model=served_model,
        rows=suite_rows,
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
        code=code("run_benchmark") + code("serve_model"),
        packages=packages("lm_eval", "serve"),
        spec=suite_spec,
        places=["folder"],
        tasks=suite_tasks,
        dataset=suite_dataset_option,
        model=model_folder,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/run_benchmark.py" --spec {params.spec:q} --log {log}'
        " --endpoint {input.server} --model {params.model} {params.dataset}"
        " --benchmark {output.benchmark} --samples {output.samples}"


rule generate_answers:
    """Answer the test rows and the fixed prompts."""
    input:
        server=model_server,
        model=served_model,
        rows=answered_rows,
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
        code=code("generate_answers") + code("serve_model"),
        packages=packages("serve"),
        spec=generate_spec,
        places=["sets.*.path"],
        prompts=prompts_digest,
        datasets=lambda wildcards, input: [os.path.dirname(path) for path in input.rows],
        model=model_folder,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/generate_answers.py" --spec {params.spec:q} --log {log}'
        " --endpoint {input.server} --model {params.model} --datasets {params.datasets}"
        " --generations {output.generations}"
