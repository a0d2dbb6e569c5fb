"""summary, comparisons -> which models may ship.

needs:  results/summary.csv, results/eval/{model}/against/{other}.json,
        results/datasets/{dataset}/contamination.json where no known fault may be
makes:  results/gates.json
"""


include: "inputs/gates.smk"


rule check_gates:
    """Hold what was measured of each model against the rules of the config."""
    input:
        summary="results/summary.csv",
        comparisons=all_comparisons,
        contamination=gated_contamination,
    output:
        gates=report(
            "results/gates.json",
            caption="captions/gates.rst",
            category="All results",
            labels={"what": "who may ship"},
        ),
    log:
        "results/logs/check_gates.log",
    benchmark:
        "results/benchmarks/check_gates.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("check_gates"),
        packages=packages(),
        spec=gates_spec(),
        told=packed(gates_spec()),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/check_gates.py" --spec {params.told:q} --log {log}'
        " --results results --gates {output.gates}"
