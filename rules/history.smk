"""summary -> what was measured before, version by version.

needs:  results/summary.csv, results/runs/{run}/manifest.json, results/datasets/{dataset}/SHA256SUMS
makes:  results/history.json; adds to results/history/{model}.jsonl
"""


include: "inputs/history.smk"


rule keep_history:
    """Add the present version of each model to its log, and tell those before it."""
    input:
        summary="results/summary.csv",
        runs=measured_manifests,
        tests=all_test_sums,
    output:
        history="results/history.json",
    log:
        "results/logs/keep_history.log",
    benchmark:
        "results/benchmarks/keep_history.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("keep_history"),
        packages=packages(),
        spec=history_spec(),
        told=packed(history_spec()),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/keep_history.py" --spec {params.told:q} --log {log}'
        " --results results --log_folder results/history --history {output.history}"
