"""base models -> plain model folders with a chat template; split data -> tokens and loss masks.

needs:  results/datasets/{dataset}/
makes:  results/models/{base}/, results/templated/{key}/
"""


def template_file(base):
    """Return the file of a base's chat template, None for the model's own."""
    name = CONFIG["bases"][base]["template"]
    if name == "native":
        return None
    if name.endswith(".jinja"):
        return work_path(name)
    return os.path.relpath(
        os.path.join(workflow.basedir, "config", "templates", f"{name}.jinja")
    )


def base_spec(wildcards):
    """Return what one start model is made of."""
    entry = {
        k: v for k, v in CONFIG["bases"][wildcards.base].items() if k != "description"
    }
    if entry["path"] is not None:
        entry["path"] = work_path(entry["path"])
    entry["template_file"] = template_file(wildcards.base)
    return spec_text(base=wildcards.base, **entry)


def base_digest(wildcards):
    """Return the content of what a base is read from: its folder and its chat template."""
    entry, template = CONFIG["bases"][wildcards.base], template_file(wildcards.base)
    folder = entry["path"]
    return [
        content_digest(work_path(folder)) if folder is not None else None,
        sha256_file(template) if template is not None else None,
    ]


def templated_inputs(wildcards):
    """Return the gates of the dataset and of the base whose tokenizer is used."""
    spec = TEMPLATED[wildcards.key]
    return settled(
        "split_dataset",
        "results/datasets/{dataset}/SHA256SUMS",
        dataset=spec["dataset"],
    ) + settled(
        "prepare_base", "results/models/{base}/TOKENIZER.SHA256SUMS", base=spec["base"]
    )


def templated_rows(wildcards):
    """Return the payloads that are templated."""
    dataset = TEMPLATED[wildcards.key]["dataset"]
    return [
        ancient(f"results/datasets/{dataset}/{part}.parquet")
        for part in ("train", "validation")
    ]


def templated_spec(wildcards):
    """Return what decides the tokens."""
    return spec_text(**TEMPLATED[wildcards.key])


checkpoint prepare_base:
    """Make, copy or fetch a start model, with its chat template, as a plain folder."""
    output:
        config="results/models/{base}/config.json",
        tokenizer="results/models/{base}/TOKENIZER.SHA256SUMS",
        sums="results/models/{base}/SHA256SUMS",
        manifest="results/models/{base}/manifest.json",
    log:
        "results/logs/prepare_base/{base}.log",
    benchmark:
        "results/benchmarks/prepare_base/{base}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: all_cores
    resources:
        gpu=1,
    params:
        code=code("prepare_base", "train"),
        spec=base_spec,
        content=base_digest,
        model=lambda wildcards, output: os.path.dirname(output.manifest),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/prepare_base.py" --spec {params.spec:q} --log {log}'
        " --model {params.model} --manifest {output.manifest}"


checkpoint template_data:
    """Render, tokenise and mask a dataset for one tokenizer and chat template."""
    input:
        gates=templated_inputs,
        rows=templated_rows,
    output:
        train="results/templated/{key}/train.parquet",
        validation="results/templated/{key}/validation.parquet",
        preview="results/templated/{key}/preview.html",
        sums="results/templated/{key}/SHA256SUMS",
        manifest="results/templated/{key}/manifest.json",
    log:
        "results/logs/template_data/{key}.log",
    benchmark:
        "results/benchmarks/template_data/{key}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("template_data", "tokens"),
        spec=templated_spec,
        dataset=lambda wildcards: f"results/datasets/{TEMPLATED[wildcards.key]['dataset']}",
        model=lambda wildcards: f"results/models/{TEMPLATED[wildcards.key]['base']}",
    shell:
        'exec python "$SFTFLOW_HOME/scripts/template_data.py" --spec {params.spec:q} --log {log}'
        " --dataset {params.dataset} --model {params.model} --train {output.train}"
        " --validation {output.validation} --manifest {output.manifest}"
        " --preview {output.preview}"
