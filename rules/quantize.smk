"""merged model -> quantised export: a model of its own.

needs:  results/models/{run}/, results/templated/{key}/
makes:  results/models/{run}+{scheme}/
"""


include: "inputs/quantize.smk"


rule quantize_model:
    """Quantise a merged model, and prove how near it stays to it."""
    input:
        model=quantized_from,
        data=quantized_tokens,
    output:
        config="results/models/{quantized}/config.json",
        sums="results/models/{quantized}/SHA256SUMS",
        manifest="results/models/{quantized}/manifest.json",
    log:
        "results/logs/quantize_model/{quantized}.log",
    benchmark:
        "results/benchmarks/quantize_model/{quantized}.tsv"
    wildcard_constraints:
        quantized=any_of(plan.quantized_models(CONFIG)),
    conda:
        "../envs/conda.yaml"
    threads: all_cores
    params:
        code=code("quantize_model"),
        packages=packages("quantize"),
        spec=quantize_spec,
        merged=lambda wildcards, input: os.path.dirname(input.model),
        templated=lambda wildcards, input: os.path.dirname(input.data[0]),
        folder=lambda wildcards, output: os.path.dirname(output.manifest),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/quantize_model.py" --spec {params.spec:q} --log {log}'
        " --model {params.merged} --templated {params.templated}"
        " --quantized {params.folder} --manifest {output.manifest}"
