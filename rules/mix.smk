"""split data -> benchmark questions found in it -> the rows that trainings read.

needs:  results/datasets/{dataset}/{train,validation}.parquet, the suites of the dataset's runs
makes:  results/datasets/{dataset}/contamination.{json,parquet}, results/datasets/{dataset}/mixed/

Only datasets whose config asks for them have these jobs: the first where a run has suites, the
second where there is a mix or something to drop. Else trainings read the split as it is.
"""


include: "inputs/mix.smk"


rule find_contamination:
    """Look for the suites' test questions in the training rows."""
    input:
        train="results/datasets/{dataset}/train.parquet",
        questions=question_rows,
    output:
        report="results/datasets/{dataset}/contamination.json",
        matches="results/datasets/{dataset}/contamination.parquet",
    log:
        "results/logs/find_contamination/{dataset}.log",
    benchmark:
        "results/benchmarks/find_contamination/{dataset}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("find_contamination"),
        packages=packages("data", "questions"),
        spec=contamination_spec,
        places=["suites.*.folder"],
        tasks=question_tasks,
        datasets=lambda wildcards, input: os.path.dirname(os.path.dirname(input.train)),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/find_contamination.py" --spec {params.spec:q} --log {log}'
        " --train {input.train} --datasets {params.datasets} --matches {output.matches}"
        " --report {output.report}"


rule mix_dataset:
    """Leave benchmark questions out and bring the sources into the wanted mix."""
    input:
        train="results/datasets/{dataset}/train.parquet",
        validation="results/datasets/{dataset}/validation.parquet",
        contamination=matches_to_drop,
    output:
        train="results/datasets/{dataset}/mixed/train.parquet",
        validation="results/datasets/{dataset}/mixed/validation.parquet",
        rejected="results/datasets/{dataset}/mixed/rejected.parquet",
        sums="results/datasets/{dataset}/mixed/SHA256SUMS",
        manifest="results/datasets/{dataset}/mixed/manifest.json",
    log:
        "results/logs/mix_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/mix_dataset/{dataset}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("mix_dataset"),
        packages=packages("data"),
        spec=mix_spec,
        dataset=lambda wildcards, input: os.path.dirname(input.train),
        contamination=contamination_option,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/mix_dataset.py" --spec {params.spec:q} --log {log}'
        " --dataset {params.dataset} {params.contamination} --train {output.train}"
        " --validation {output.validation} --rejected {output.rejected}"
        " --manifest {output.manifest}"
