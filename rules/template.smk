"""base models -> plain model folders with a chat template; split data -> tokens and loss masks.

needs:  results/datasets/{dataset}/
makes:  results/models/{base}/, results/templated/{key}/; results/hub/{base}/ of what is fetched
"""


include: "inputs/template.smk"


rule fetch_base:
    """Fetch a start model from the hub, at its commit; nothing else needs a network for it."""
    output:
        sums="results/hub/{base}/SHA256SUMS",
        manifest="results/hub/{base}/manifest.json",
    log:
        "results/logs/fetch_base/{base}.log",
    benchmark:
        "results/benchmarks/fetch_base/{base}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("fetch_base"),
        packages=packages(),
        spec=fetch_spec,
        folder=lambda wildcards, output: os.path.dirname(output.manifest),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/fetch_base.py" --spec {params.spec:q} --log {log}'
        " --folder {params.folder} --manifest {output.manifest}"


rule prepare_base:
    """Make or copy a start model, with its chat template, as a plain folder."""
    input:
        fetched=fetched_base,
    output:
        config="results/models/{base}/config.json",
        tokenizer="results/models/{base}/TOKENIZER.SHA256SUMS",
        start="results/models/{base}/START.SHA256SUMS",
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
        code=code("prepare_base"),
        packages=packages("base"),
        spec=base_spec,
        places=base_places,
        content=base_digest,
        fetched=fetched_option,
        model=lambda wildcards, output: os.path.dirname(output.manifest),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/prepare_base.py" --spec {params.spec:q} --log {log}'
        " {params.fetched} --model {params.model} --manifest {output.manifest}"


rule template_data:
    """Render, tokenise and mask a dataset for one tokenizer and chat template."""
    input:
        rows=templated_rows,
        tokenizer=templated_tokenizer,
    output:
        train="results/templated/{key}/train.parquet",
        validation="results/templated/{key}/validation.parquet",
        preview=report(
            "results/templated/{key}/preview.html",
            caption="captions/preview.rst",
            category="Tokens",
            labels={"tokens": "{key}"},
        ),
        rejected="results/templated/{key}/rejected.parquet",
        sums="results/templated/{key}/SHA256SUMS",
        manifest="results/templated/{key}/manifest.json",
    log:
        "results/logs/template_data/{key}.log",
    benchmark:
        "results/benchmarks/template_data/{key}.tsv"
    wildcard_constraints:
        key=any_of(key for key, spec in TEMPLATED.items() if "pairs" not in spec),
    conda:
        "../envs/conda.yaml"
    params:
        code=code("template_data"),
        packages=packages("tokens"),
        spec=templated_spec,
        dataset=lambda wildcards, input: os.path.dirname(input.rows[0]),
        model=lambda wildcards, input: os.path.dirname(input.tokenizer),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/template_data.py" --spec {params.spec:q} --log {log}'
        " --dataset {params.dataset} --model {params.model} --train {output.train}"
        " --validation {output.validation} --manifest {output.manifest}"
        " --preview {output.preview}"
