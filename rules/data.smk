"""raw data -> ingested sources -> cleaned -> split; and a page about it.

needs:  the files that sources.*.path names; for the page results/templated/{key}/manifest.json;
        for a judge served here results/models/{base}/, results/generators/{base}/judge.json
makes:  results/sources/{source}/, results/datasets/{dataset}/
"""


include: "inputs/data.smk"


rule ingest_source:
    """Read one raw source into records; keep what can't be used with its reason."""
    input:
        raw=source_files,
    output:
        records="results/sources/{source}/records.parquet",
        rejected="results/sources/{source}/rejected.parquet",
        sums="results/sources/{source}/SHA256SUMS",
        manifest="results/sources/{source}/manifest.json",
    log:
        "results/logs/ingest_source/{source}.log",
    benchmark:
        "results/benchmarks/ingest_source/{source}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("ingest_source"),
        packages=packages("data"),
        spec=source_spec,
        places=["path"],
        raw=source_digest,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/ingest_source.py" --spec {params.spec:q} --log {log}'
        " --records {output.records} --rejected {output.rejected} --manifest {output.manifest}"


rule clean_dataset:
    """Run a dataset's cleaning steps over the records of its sources."""
    input:
        records=source_outputs("records.parquet"),
        server=clean_server,
        judge=clean_judge,
    output:
        records="results/datasets/{dataset}/cleaned/records.parquet",
        rejected="results/datasets/{dataset}/rejected.parquet",
        sums="results/datasets/{dataset}/cleaned/SHA256SUMS",
        manifest="results/datasets/{dataset}/cleaned/manifest.json",
    log:
        "results/logs/clean_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/clean_dataset/{dataset}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: clean_threads
    resources:
        gpu=clean_gpus,
    params:
        code=clean_code,
        packages=clean_packages,
        models=clean_models,
        spec=clean_spec,
        places=clean_places,
        folders=source_folders,
        judge=lambda wildcards, input: os.path.dirname(str(input.judge)),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/clean_dataset.py" --spec {params.spec:q} --log {log}'
        " --endpoint {input.server} --model {params.judge} --sources {params.folders}"
        " --records {output.records} --rejected {output.rejected} --manifest {output.manifest}"


rule split_dataset:
    """Set validation and test rows aside; one prompt, or nearly the same, never stands on two sides."""
    input:
        records="results/datasets/{dataset}/cleaned/records.parquet",
    output:
        train="results/datasets/{dataset}/train.parquet",
        validation="results/datasets/{dataset}/validation.parquet",
        test="results/datasets/{dataset}/test.parquet",
        sums="results/datasets/{dataset}/SHA256SUMS",
        manifest="results/datasets/{dataset}/manifest.json",
    log:
        "results/logs/split_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/split_dataset/{dataset}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("split_dataset"),
        packages=packages("data", "near"),
        spec=split_spec,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/split_dataset.py" --spec {params.spec:q} --log {log}'
        " --records {input.records} --train {output.train} --validation {output.validation}"
        " --test {output.test} --manifest {output.manifest}"


rule map_dataset:
    """Place a sample of the training prompts on a map, by the embedding model of the cleaning."""
    input:
        train="results/datasets/{dataset}/train.parquet",
    output:
        map="results/datasets/{dataset}/map.json",
    log:
        "results/logs/map_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/map_dataset/{dataset}.tsv"
    conda:
        "../envs/conda.yaml"
    resources:
        gpu=clean_gpus,
    params:
        code=code("map_dataset"),
        packages=packages("data", "embeddings", "maps"),
        models=map_model,
        spec=map_spec,
        places=map_places,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/map_dataset.py" --spec {params.spec:q} --log {log}'
        " --train {input.train} --map {output.map}"


rule report_dataset:
    """Show what became of a dataset's raw rows."""
    input:
        sources=source_outputs("manifest.json"),
        read=source_outputs("records.parquet"),
        unread=source_outputs("rejected.parquet"),
        cleaned="results/datasets/{dataset}/cleaned/manifest.json",
        dataset="results/datasets/{dataset}/manifest.json",
        records="results/datasets/{dataset}/cleaned/records.parquet",
        rejected="results/datasets/{dataset}/rejected.parquet",
        train="results/datasets/{dataset}/train.parquet",
        tokens=dataset_tokens,
        earlier=earlier_portrait,
        contamination=dataset_overlaps,
        mixed=dataset_mix,
        mixed_rows=dataset_mix_rows,
        map=dataset_map,
    output:
        portrait="results/datasets/{dataset}/portrait.json",
        html=report(
            "results/datasets/{dataset}/report.html",
            caption="captions/dataset.rst",
            category="Data",
            labels={"dataset": "{dataset}"},
        ),
    log:
        "results/logs/report_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/report_dataset/{dataset}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("report_dataset"),
        packages=portrait_packages,
        spec=portrait_spec,
        earlier=earlier_digest,
        sources=source_folders,
        cleaned=lambda wildcards, input: os.path.dirname(input.records),
        dataset=lambda wildcards, output: os.path.dirname(output.html),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/report_dataset.py" --spec {params.spec:q} --log {log}'
        " --sources {params.sources} --cleaned {params.cleaned} --dataset {params.dataset}"
        " --rejected {input.rejected} --tokens {input.tokens} --earlier {input.earlier:q}"
        " --contamination {input.contamination} --mixed {input.mixed} --map {input.map}"
        " --portrait {output.portrait} --html {output.html}"
