"""sftflow: raw data -> measured model. What is made is said in config/, how in rules/."""

import gc
import os
import sys

from snakemake.utils import min_version

# Planning makes many objects; without this each collection looks at all of Snakemake's again.
gc.freeze()

min_version("9.27")
sys.path.insert(0, os.path.join(workflow.basedir, "scripts"))

if not workflow.overwrite_configfiles:

    configfile: os.path.join(workflow.basedir, "config", "config.yaml")


report: "rules/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/make.smk"
include: "rules/data.smk"
include: "rules/mix.smk"
include: "rules/template.smk"
include: "rules/train.smk"
include: "rules/quantize.smk"
include: "rules/preferences.smk"
include: "rules/search.smk"
include: "rules/serve.smk"
include: "rules/measure.smk"
include: "rules/in_context.smk"
include: "rules/judge.smk"
include: "rules/evaluate.smk"
include: "rules/compare.smk"
include: "rules/gates.smk"
include: "rules/history.smk"
include: "rules/report.smk"


localrules:
    all,
    data,
    tokens,
    models,
    sheets,
    scores,
    gate,
    fetch_base,  # nodes of a cluster often have no network


if CONFIG["cluster"]["light_stages"] == "local":
    workflow.localrules(*light_rules())


rule all:
    """Everything: data, models, measurements and the report."""
    default_target: True
    input:
        "results/report.html",
        "results/summary.csv",
        collect("results/datasets/{dataset}/report.html", dataset=CONFIG["datasets"]),
        all_contamination,
        all_measurements,
        all_sheets,


rule data:
    """Sources read, cleaned, split, mixed and compared with benchmark questions; no training."""
    input:
        all_contamination,
        collect(
            "{folder}/train.parquet",
            folder=[plan.training_folder(CONFIG, name) for name in CONFIG["datasets"]],
        ),


rule tokens:
    """Tokens and loss masks of every run, with the pages to look at before a training."""
    input:
        collect("results/datasets/{dataset}/report.html", dataset=CONFIG["datasets"]),
        collect("results/templated/{key}/preview.html", key=TEMPLATED),


rule models:
    """Every run trained, merged where something is made of its model, and quantised where asked."""
    input:
        all_runs,
        collect("results/models/{run}/manifest.json", run=plan.merged_runs(CONFIG)),
        collect(
            "results/models/{model}/manifest.json",
            model=plan.quantized_models(CONFIG),
        ),


rule sheets:
    """The sheets on which people score answers."""
    input:
        all_sheets,


rule scores:
    """Every model measured, without the page."""
    input:
        "results/summary.csv",


rule gate:
    """Everything, and a failure at the end if a model does not pass its gates."""
    input:
        rules.all.input,
        gates=gates_demanded,
    log:
        "results/logs/gate.log",
    conda:
        "envs/conda.yaml"
    params:
        code=code("gate"),
        packages=packages(),
        spec=spec_text(),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/gate.py" --spec {params.spec:q} --log {log}'
        " --gates {input.gates}"


include: "rules/environments.smk"
