"""What the rules share: the checked config, wildcards, digests. No rules here.

needs:  config files, scripts/sftflow
makes:  CONFIG, wildcard constraints, input and params functions

A rule's input is what its stage reads, file by file, for what differs there makes it stale
(sftflow/cutoff.py). `SHA256SUMS` of a folder stands for all files of that folder.
"""

import re
from functools import cache
from pathlib import Path

from sftflow import cutoff, generators, plan, rawfiles
from sftflow.atwork import begin_work
from sftflow.codegraph import (
    code_digest,
    package_versions,
    remember_trees,
    tree_memory,
)
from sftflow.config import load_config
from sftflow.configfile import ConfigFault
from sftflow.devices import gpu_count, vllm_package
from sftflow.embeddingfolders import embedding_files
from sftflow.jobs import set_job_environment
from sftflow.kubernetesjobs import share_the_volume
from sftflow.lifelines import end_jobs_with_workflow
from sftflow.longspecs import packed
from sftflow.manifests import canonical_json, sha256_json
from sftflow.modelfolders import model_parts
from sftflow.notes import Notes
from sftflow.promptfile import read_prompts
from sftflow.slurmjobs import keep_slurm_jobs
from sftflow.stage import StageError
from sftflow.suites import folder_tasks, named_files, placeless_files
from sftflow.workfolder import check_writable

check_writable(os.getcwd())


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
if workflow.is_main_process:
    for said in CONFIG["unheeded"]:
        sys.stderr.write(f"config note: {said}\n")
RUNS, BASES = list(CONFIG["runs"]), list(CONFIG["bases"])
MODELS = plan.models(CONFIG)
TEMPLATED = plan.templated_specs(CONFIG)
PACKAGES = {
    "data": ("pyarrow",),
    "near": ("rensa",),
    "embeddings": ("sentence-transformers", "torch", "transformers", "tokenizers"),
    "tokens": ("pyarrow", "transformers", "tokenizers"),
    "base": ("torch", "transformers", "tokenizers", "safetensors", "huggingface_hub"),
    "train": ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers"),
    "deepspeed": ("deepspeed",),
    "bitsandbytes": ("bitsandbytes",),
    "merge": ("torch", "transformers", "peft", "safetensors"),
    "losses": ("pyarrow", "torch", "transformers", "peft", "tokenizers"),
    "quantize": ("torch", "transformers", "compressed-tensors", "safetensors"),
    "serve": (vllm_package(),),
    "questions": ("lm-eval", "datasets"),
    "lm_eval": ("lm-eval", "transformers"),
    "scores": ("sacrebleu", "rapidfuzz", "scikit-learn", "scipy"),
    "statistics": ("scipy", "statsmodels"),
    "report": ("altair", "vl-convert-python"),
    "drift": ("scipy",),
    "languages": ("py3langid",),
    "maps": ("scikit-learn",),
    "people": ("scipy",),
}

LIGHT = (
    *("ingest_source", "split_dataset", "mix_dataset", "find_contamination"),
    *(
        "template_data",
        "template_preferences",
        "report_dataset",
        "score_answers",
        "judge_run",
    ),
    *("make_sheet", "read_sheets", "compare_models", "check_gates"),
    *("suggest_round", "choose_trial", "list_trials"),
    *("summarize_results", "keep_history", "build_report"),
)

set_job_environment(workflow.basedir, CONFIG["root"])
end_jobs_with_workflow()
keep_slurm_jobs()
share_the_volume()
remember_trees(tree_memory(Path("results/.cache")))
DIGESTS = cutoff.install(
    workflow,
    untracked=(
        "limits",
        "memory",
        "told",
        "trackers",
        "times",
        *(() if CONFIG["track_versions"] else ("packages",)),
    ),
)

# A training job and a server never share a GPU; on a machine without one they take turns. (A job
# on a cluster has the machine that the scheduler gave it for itself.)
if "gpu" not in workflow.global_resources:
    gpus = gpu_count()
    workflow.register_resource(
        "gpu", max(1, gpus) if workflow.is_main_process else gpus
    )


def any_of(names):
    """Return a regular expression that matches exactly these names."""
    return "|".join(re.escape(n) for n in names) or "(?!)"


wildcard_constraints:
    source=any_of(CONFIG["sources"]),
    dataset=any_of(CONFIG["datasets"]),
    base=any_of(BASES),
    run=any_of(RUNS),
    model=any_of(MODELS),
    other=any_of(MODELS),
    start=any_of(plan.adapter_starts(CONFIG)),
    suite=any_of(CONFIG["suites"]),
    key=any_of(TEMPLATED),
    judge=any_of(CONFIG["judges"]),
    pair=any_of(plan.all_pairs(CONFIG)),
    sheet=any_of(CONFIG["people"]),
    share=r"made\d+|judge|answers",


onstart:
    if workflow.is_main_process:
        begin_work()
    if workflow.is_main_process and (
        fault := unkeyed_here() or untrainable_here() or unserved_here()
    ):
        sys.exit(fault)
    if workflow.is_main_process:
        refuse_what_cannot_fit()


def code(stage):
    """Return the digest of a stage's code."""
    return code_digest(stage)


def packages(*groups):
    """Return the versions of the packages that shape a stage's output, by name."""
    return package_versions({name for group in groups for name in PACKAGES[group]})


def spec_text(**keys):
    """Return settings as the canonical JSON that a stage takes."""
    return canonical_json(keys)


def project_path(text):
    """Return the place of a path in the config, which is relative to its project."""
    return os.path.join(CONFIG["root"], text)


def content_digest(path):
    """Return a digest of a file, or of all files of a folder or glob (names and bytes)."""
    import glob

    if os.path.exists(path):
        return DIGESTS.content(path)
    found = sorted(glob.glob(path, recursive=True))
    return sha256_json([(os.path.relpath(p, path), DIGESTS.content(p)) for p in found])


def all_cores(wildcards):
    """Return the threads of a stage that should have the machine for itself.

    On a cluster that is what the profile lets a job have (max-threads).
    """
    settings = workflow.resource_settings
    return settings.cores or settings.max_threads or os.cpu_count()


def light_rules():
    """Return the rules that want one core and no model, of this config."""
    heavy = {
        name
        for name in CONFIG["datasets"]
        if generators.judge_server(CONFIG, name) or plan.embedding_steps(CONFIG, name)
    }
    return LIGHT if heavy else (*LIGHT, "clean_dataset")
