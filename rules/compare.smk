"""what two models said to the same rows -> their paired differences.

needs:  results/eval/{model}/: generations.jsonl, benchmark/{suite}.samples.jsonl,
        loss_rows.parquet, of both models
makes:  results/eval/{model}/against/{other}.json
"""


include: "inputs/compare.smk"


rule compare_models:
    """Hold a model against another, row by row: measures, intervals, tests, rows that turned."""
    input:
        model=said_by_model,
        against=said_by_other,
    output:
        comparison="results/eval/{model}/against/{other}.json",
    log:
        "results/logs/compare_models/{model}.{other}.log",
    benchmark:
        "results/benchmarks/compare_models/{model}.{other}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("compare_models"),
        packages=packages("scores", "statistics"),
        spec=comparison_spec,
        model="results/eval/{model}",
        against="results/eval/{other}",
    shell:
        'exec python "$SFTFLOW_HOME/scripts/compare_models.py" --spec {params.spec:q} --log {log}'
        " --model {params.model} --against {params.against} --comparison {output.comparison}"
