"""raw data -> ingested sources -> cleaned -> split.

needs:  the files that sources.*.path names
makes:  results/sources/{source}/, results/datasets/{dataset}/
"""


def source_paths(wildcards):
    """Return the raw files of a source, as a list."""
    path = CONFIG["sources"][wildcards.source]["path"]
    return [work_path(p) for p in (path if isinstance(path, list) else [path])]


def source_files(wildcards):
    """Return the files and folders of a source, globs expanded; their time stamps say nothing."""
    import glob

    paths = source_paths(wildcards)
    found = [
        p for path in paths for p in sorted(glob.glob(path, recursive=True)) or [path]
    ]
    return [ancient(path) for path in found]


def source_digest(wildcards):
    """Return what the raw files hold: their names and time stamps are not asked."""
    return sha256_json([content_digest(path) for path in source_paths(wildcards)])


def source_spec(wildcards):
    """Return the settings of one source."""
    entry = CONFIG["sources"][wildcards.source]
    settings = {k: v for k, v in entry.items() if k not in ("description", "path")}
    return spec_text(source=wildcards.source, path=source_paths(wildcards), **settings)


def dataset_sources(wildcards):
    """Return the gates of a dataset's sources."""
    return [
        path
        for source in CONFIG["datasets"][wildcards.dataset]["sources"]
        for path in settled(
            "ingest_source", "results/sources/{source}/SHA256SUMS", source=source
        )
    ]


def dataset_source_manifests(wildcards):
    """Return the manifests of a dataset's sources."""
    return [
        path
        for source in CONFIG["datasets"][wildcards.dataset]["sources"]
        for path in settled(
            "ingest_source", "results/sources/{source}/manifest.json", source=source
        )
    ]


def dataset_source_records(wildcards):
    """Return the payloads of a dataset's sources, whose time stamps say nothing."""
    return [
        ancient(f"results/sources/{source}/records.parquet")
        for source in CONFIG["datasets"][wildcards.dataset]["sources"]
    ]


def clean_spec(wildcards):
    """Return what the cleaning of one dataset rests on."""
    entry = CONFIG["datasets"][wildcards.dataset]
    keys = ("sources", "clean", "max_rejected_fraction")
    return spec_text(dataset=wildcards.dataset, **{k: entry[k] for k in keys})


def split_spec(wildcards):
    """Return what the split of one dataset rests on."""
    entry = CONFIG["datasets"][wildcards.dataset]
    return spec_text(dataset=wildcards.dataset, split=entry["split"])


def cleaned_gate(wildcards):
    """Return the gate of a dataset's cleaned records."""
    return settled(
        "clean_dataset",
        "results/datasets/{dataset}/cleaned/SHA256SUMS",
        dataset=wildcards.dataset,
    )


def cleaned_manifest(wildcards):
    """Return the manifest of a dataset's cleaning."""
    return settled(
        "clean_dataset",
        "results/datasets/{dataset}/cleaned/manifest.json",
        dataset=wildcards.dataset,
    )


def dataset_gate(wildcards):
    """Return the gate of a dataset's splits."""
    return settled(
        "split_dataset",
        "results/datasets/{dataset}/SHA256SUMS",
        dataset=wildcards.dataset,
    )


def dataset_manifest(wildcards):
    """Return the manifest of a dataset's splits."""
    return settled(
        "split_dataset",
        "results/datasets/{dataset}/manifest.json",
        dataset=wildcards.dataset,
    )


checkpoint ingest_source:
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
        code=code("ingest_source", "text"),
        spec=source_spec,
        raw=source_digest,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/ingest_source.py" --spec {params.spec:q} --log {log}'
        " --records {output.records} --rejected {output.rejected} --manifest {output.manifest}"


checkpoint clean_dataset:
    """Run a dataset's cleaning steps over the records of its sources."""
    input:
        sources=dataset_sources,
        records=dataset_source_records,
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
    params:
        code=code("clean_dataset", "text"),
        spec=clean_spec,
        folders=lambda wildcards, input: [
            os.path.dirname(path) for path in input.sources
        ],
    shell:
        'exec python "$SFTFLOW_HOME/scripts/clean_dataset.py" --spec {params.spec:q} --log {log}'
        " --sources {params.folders} --records {output.records}"
        " --rejected {output.rejected} --manifest {output.manifest}"


checkpoint split_dataset:
    """Set validation and test rows aside; one prompt never stands on two sides."""
    input:
        sums=cleaned_gate,
        records=ancient("results/datasets/{dataset}/cleaned/records.parquet"),
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
        code=code("split_dataset", "data"),
        spec=split_spec,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/split_dataset.py" --spec {params.spec:q} --log {log}'
        " --records {input.records} --train {output.train} --validation {output.validation}"
        " --test {output.test} --manifest {output.manifest}"


checkpoint report_dataset:
    """Show what became of a dataset's raw rows."""
    input:
        sources=dataset_source_manifests,
        cleaned=cleaned_manifest,
        dataset=dataset_manifest,
        records=ancient("results/datasets/{dataset}/cleaned/records.parquet"),
        rejected=ancient("results/datasets/{dataset}/rejected.parquet"),
        train=ancient("results/datasets/{dataset}/train.parquet"),
    output:
        html="results/datasets/{dataset}/report.html",
    log:
        "results/logs/report_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/report_dataset/{dataset}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("report_dataset", "report"),
        spec=clean_spec,
        sources=lambda wildcards, input: [
            os.path.dirname(path) for path in input.sources
        ],
        cleaned=lambda wildcards, input: os.path.dirname(input.records),
        dataset=lambda wildcards, output: os.path.dirname(output.html),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/report_dataset.py" --spec {params.spec:q} --log {log}'
        " --sources {params.sources} --cleaned {params.cleaned} --dataset {params.dataset}"
        " --rejected {input.rejected} --html {output.html}"
