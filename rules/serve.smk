"""model folder -> one vLLM server for all that measures it, another for data that it makes.

needs:  results/models/{model}/; results/runs/{run}/adapter/ of runs that are served as adapters
makes:  results/eval/{model}/server.json, results/adapters/{start}/server.json and
        results/generators/{base}/{share}.json, each for as long as its server lives
"""


include: "inputs/serve.smk"


rule serve_model:
    """Serve a model with vLLM for as long as something measures it."""
    input:
        model=served_model,
    output:
        service("results/eval/{model}/server.json"),
    log:
        "results/logs/serve_model/{model}.log",
    conda:
        "../envs/conda.yaml"
    threads: all_cores
    resources:
        gpu=CONFIG["serve"]["tensor_parallel_size"],
        nodes=1,
    params:
        spec=serve_spec,
        model="results/models/{model}",
    shell:
        'exec python "$SFTFLOW_HOME/scripts/serve_model.py" --spec {params.spec:q} --log {log}'
        " --model {params.model} --endpoint {output}"


rule serve_adapters:
    """Serve a model with all adapters that were trained on it, one vLLM for as long as any is measured."""
    input:
        model=start_sums,
        adapters=adapter_folders,
    output:
        service("results/adapters/{start}/server.json"),
    log:
        "results/logs/serve_adapters/{start}.log",
    conda:
        "../envs/conda.yaml"
    threads: all_cores
    resources:
        gpu=CONFIG["serve"]["tensor_parallel_size"],
        nodes=1,
    params:
        spec=adapters_spec,
        model="results/models/{start}",
        adapters=adapter_names,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/serve_model.py" --spec {params.spec:q} --log {log}'
        " --model {params.model} --adapters {params.adapters} --endpoint {output}"


rule serve_generator:
    """Serve a base with vLLM for as long as it makes data or judges; measuring has a server of its own."""
    input:
        model="results/models/{base}/SHA256SUMS",
    output:
        service("results/generators/{base}/{share}.json"),
    log:
        "results/logs/serve_generator/{base}.{share}.log",
    conda:
        "../envs/conda.yaml"
    threads: all_cores
    resources:
        gpu=CONFIG["serve"]["tensor_parallel_size"],
        nodes=1,
    params:
        spec=generator_spec,
        model=lambda wildcards, input: os.path.dirname(input.model),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/serve_model.py" --spec {params.spec:q} --log {log}'
        " --model {params.model} --endpoint {output}"
