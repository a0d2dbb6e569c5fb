"""test rows with training rows as examples -> asked of a base's server -> answers.

needs:  results/eval/{base}/server.json (serve_model), results/models/{base}/,
        results/datasets/{dataset}/test.parquet and what trainings read
makes:  results/eval/{base}+icl{examples}/generations.jsonl, which score_answers scores

Only configs with generation.in_context.examples have these jobs.
"""


include: "inputs/in_context.smk"


rule answer_in_context:
    """Answer the test rows with training rows as examples in the prompt."""
    input:
        server="results/eval/{base}/server.json",
        model=in_context_model,
        rows=in_context_tests,
        training=in_context_training,
    output:
        generations="results/eval/{base}+icl{examples}/generations.jsonl",
    log:
        "results/logs/answer_in_context/{base}.{examples}.log",
    benchmark:
        "results/benchmarks/answer_in_context/{base}.{examples}.tsv"
    wildcard_constraints:
        examples=r"\d+",
    conda:
        "../envs/conda.yaml"
    threads: 0
    params:
        code=code("answer_in_context") + code("serve_model"),
        packages=in_context_packages,
        spec=in_context_spec,
        datasets=lambda wildcards, input: [os.path.dirname(path) for path in input.rows],
        training=lambda wildcards, input: [
            os.path.dirname(path) for path in input.training
        ],
        model="results/models/{base}",
    shell:
        'exec python "$SFTFLOW_HOME/scripts/answer_in_context.py" --spec {params.spec:q}'
        " --log {log} --endpoint {input.server} --model {params.model}"
        " --datasets {params.datasets} --training {params.training}"
        " --generations {output.generations}"
