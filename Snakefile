"""sftflow: raw data -> measured model. What is made is said in config/, how in rules/."""

import os
import sys

from snakemake.utils import min_version

min_version("9.27")
sys.path.insert(0, os.path.join(workflow.basedir, "scripts"))

if not workflow.overwrite_configfiles:

    configfile: os.path.join(workflow.basedir, "config", "config.yaml")


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/template.smk"
include: "rules/train.smk"
include: "rules/serve.smk"
include: "rules/measure.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"


localrules:
    all,
    data,
    models,
    scores,


rule all:
    """Everything: data, models, measurements and the report."""
    default_target: True
    input:
        "results/report.html",
        "results/summary.csv",
        collect("results/datasets/{dataset}/report.html", dataset=CONFIG["datasets"]),
        all_measurements,


rule data:
    """Sources read, cleaned, split, tokenised for the runs that use them, and reported."""
    input:
        collect("results/datasets/{dataset}/report.html", dataset=CONFIG["datasets"]),


rule models:
    """Every run trained and merged."""
    input:
        collect("results/models/{run}/manifest.json", run=CONFIG["runs"]),


rule scores:
    """Every model measured, without the page."""
    input:
        "results/summary.csv",
