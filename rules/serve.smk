"""model folder -> one vLLM server for all that measures it.

needs:  results/models/{model}/
makes:  results/eval/{model}/server.json, for as long as the server lives
"""


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
    params:
        spec=serve_spec,
        model="results/models/{model}",
    shell:
        'exec python "$SFTFLOW_HOME/scripts/serve_model.py" --spec {params.spec:q} --log {log}'
        " --model {params.model} --endpoint {output}"
