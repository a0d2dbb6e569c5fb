"""What the rules share: the checked config, wildcards, gates and digests. No rules here.

needs:  config files, scripts/sftflow
makes:  CONFIG, wildcard constraints, input and params functions
"""

import re
from functools import cache
from pathlib import Path

from sftflow import plan
from sftflow.codegraph import code_digest
from sftflow.config import load_config
from sftflow.configfile import ConfigFault
from sftflow.devices import gpu_count, vllm_package
from sftflow.jobs import set_job_environment
from sftflow.manifests import canonical_json, sha256_file, sha256_json
from sftflow.taskfiles import read_task, task_files
from sftflow.workfolder import hold_folder


def checked_config():
    """Return the checked config, or end with all its faults, a line each."""
    files = workflow.overwrite_configfiles or workflow.configfiles
    try:
        return load_config(
            [Path(f) for f in files], dict(workflow.config_settings.config)
        )
    except ConfigFault as error:
        sys.exit("\n".join(f"config error: {fault}" for fault in error.faults))


CONFIG = checked_config()
RUNS, BASES = list(CONFIG["runs"]), list(CONFIG["bases"])
MODELS = plan.models(CONFIG)
TEMPLATED = plan.templated_specs(CONFIG)
PACKAGES = {
    "data": ("pyarrow",),
    "text": ("pyarrow", "ftfy"),
    "tokens": ("pyarrow", "transformers", "tokenizers"),
    "train": ("torch", "transformers", "trl", "peft", "accelerate"),
    "merge": ("torch", "transformers", "peft"),
    "serve": (vllm_package(),),
    "lm_eval": ("lm-eval", "transformers"),
    "scores": ("sacrebleu", "rouge-score"),
    "report": ("altair",),
}

set_job_environment(workflow.basedir)

# A training job and a server never share a GPU; on a machine without one they take turns.
if "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", max(1, gpu_count()))


def any_of(names):
    """Return a regular expression that matches exactly these names."""
    return "|".join(re.escape(n) for n in names) or "(?!)"


wildcard_constraints:
    source=any_of(CONFIG["sources"]),
    dataset=any_of(CONFIG["datasets"]),
    base=any_of(BASES),
    run=any_of(RUNS),
    model=any_of(MODELS),
    suite=any_of(CONFIG["suites"]),
    key=any_of(TEMPLATED),


onstart:
    holder = hold_folder("results/.lock") if workflow.is_main_process else None
    if holder:
        sys.exit(
            f"another run ({holder}) is at work in {os.getcwd()}; "
            "wait for it or use --directory for a folder of your own"
        )


def settled(rule, *patterns, **wildcards):
    """Return the input paths of one job of a checkpoint, asked for in a way that lets it stop us.

    If the files are there, ask for the checkpoint's result: then Snakemake lets a rerun in
    progress finish and looks at the files' checksums before it decides about us. If they are
    not, return the names at once, so that a fresh dry run shows the whole graph.
    """
    paths = [pattern.format(**wildcards) for pattern in patterns]
    if all(os.path.exists(path) for path in paths):
        getattr(checkpoints, rule).get(**wildcards)
    return paths


def code(stage, group):
    """Return the digest of a stage's code, and of the packages that shape its output."""
    return code_digest(stage, PACKAGES[group] if CONFIG["track_versions"] else ())


def spec_text(**keys):
    """Return settings as the canonical JSON that a stage takes."""
    return canonical_json(keys)


def work_path(text):
    """Return a config's path as seen from the work folder: the same in every copy of both."""
    path = Path(text)
    return (
        str(path)
        if path.is_absolute()
        else os.path.relpath(Path(CONFIG["root"]) / path)
    )


def content_digest(path):
    """Return a digest of a file, or of all files of a folder or glob (names and bytes)."""
    import glob

    path = Path(path)
    files = (
        sorted(p for p in path.rglob("*") if p.is_file())
        if path.is_dir()
        else (
            [path]
            if path.is_file()
            else sorted(map(Path, glob.glob(str(path), recursive=True)))
        )
    )
    if files == [path]:
        return sha256_file(path)
    return sha256_json([(os.path.relpath(p, path), sha256_file(p)) for p in files])


def all_cores(wildcards):
    """Return the threads of a stage that should have the machine for itself."""
    return workflow.cores or os.cpu_count()


def model_gate(model):
    """Return the gate of a model folder, whoever makes it."""
    if model in BASES:
        return settled("prepare_base", "results/models/{base}/SHA256SUMS", base=model)
    return settled("merge_adapter", "results/models/{run}/SHA256SUMS", run=model)


def served_model(wildcards):
    """Return the gate of the model that is served."""
    return model_gate(wildcards.model)


def served_data(wildcards):
    """Return the gates of all datasets that something asks a model about.

    The server does not read them. But Snakemake (9.27) keeps a job that was replaced when a
    checkpoint finished in the group of its service, beside its successor, unless the service
    was replaced with it: so the service waits for all that its consumers wait for.
    """
    model = wildcards.model
    suites = [
        CONFIG["suites"][suite]["dataset"] for suite in plan.model_suites(CONFIG, model)
    ]
    asked = dict.fromkeys([*plan.model_datasets(CONFIG, model), *filter(None, suites)])
    return [
        path
        for dataset in asked
        for path in settled(
            "split_dataset", "results/datasets/{dataset}/SHA256SUMS", dataset=dataset
        )
    ]


def serve_spec(wildcards):
    """Return the settings of a model's server."""
    base = CONFIG["bases"][plan.root_base(CONFIG, wildcards.model)]
    return spec_text(
        model=wildcards.model,
        trust_remote_code=base["trust_remote_code"],
        **CONFIG["serve"],
    )
