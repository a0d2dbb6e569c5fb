"""What trainings and merges read and rest on: input and params functions. No rules here."""

import atexit
from importlib.util import find_spec
from itertools import islice

from sftflow import searches
from sftflow.askedmodules import asked_modules
from sftflow.direction import direction
from sftflow.launching import (
    check_devices,
    check_packages,
    lacking_package,
    needed_packages,
)
from sftflow.methods import OPTIONS
from sftflow.optimizers import bitsandbytes_asked
from sftflow.stage import StageError
from sftflow.trackers import missing_package
from sftflow.trainingdevices import device_fault

TRAINERS = ("train_adapter", "train_preferences", "train_trial")
SEARCHED = searches.searched_runs(CONFIG)


def templated_folder(wildcards):
    """Return the folder of a run's tokens."""
    return f"results/templated/{plan.templated_key(CONFIG, wildcards.run)}"


def templated_tokens(wildcards):
    """Return a run's tokens."""
    folder = templated_folder(wildcards)
    return [f"{folder}/train.parquet", f"{folder}/validation.parquet"]


def start_folder(wildcards):
    """Return the folder of the model that a run starts from."""
    return f"results/models/{CONFIG['runs'][wildcards.run]['base']}"


def start_model(wildcards):
    """Return what vouches for that model as a training sees it: without the chat template.

    The prompts that a training answers are put into the template, so one that does rests on all.
    """
    if asked_prompts(CONFIG["runs"][wildcards.run]):
        return merged_into(wildcards)
    return f"{start_folder(wildcards)}/START.SHA256SUMS"


def merged_into(wildcards):
    """Return what vouches for all files of that model, of which the merged one has its share."""
    return f"{start_folder(wildcards)}/SHA256SUMS"


def train_spec(wildcards):
    """Return the hyperparameters of a run, without what its method does not use."""
    run = CONFIG["runs"][wildcards.run]
    return spec_text(**training_basis(wildcards.run, run))


def training_basis(name, run):
    """Return what a training of a run by that name rests on; ``run`` may be one of its trials."""
    keys = ["method", "launch"]
    keys += [name for name in OPTIONS if name in run]  # its method's alone
    if run["order"] != "shuffled":
        keys.append("order")
    if run["dpo"] is not None:
        keys.append("dpo")
    kept = {k: run[k] for k in keys}
    if run["launch"]["num_nodes"] == 1:
        kept["launch"] = {k: v for k, v in run["launch"].items() if k != "num_nodes"}
    texts = {name: CONFIG["texts"][name] for name in trained_texts(run)}
    prompts = CONFIG["generation"]["prompts"] if asked_prompts(run) else None
    return {
        "run": name,
        "texts": texts,
        "prompts": prompts,
        "training": training_settings(run),
        **kept,
    }


def training_settings(run):
    """Return what shapes a training, with what its answers and its best checkpoint rest on."""
    training = plan.shaping_settings(run["training"])
    if "metric_for_best_model" in training:
        better = direction("scores", f"validation.{training['metric_for_best_model']}")
        training["greater_is_better"] = better > 0
    if "eval_generation" in training:
        metrics = CONFIG["datasets"][run["dataset"]]["metrics"]
        training["eval_generation"] = {
            **training["eval_generation"],
            "prompts": asked_prompts(run),
            "metrics": metrics,
        }
    return training


def asked_prompts(run):
    """Return how many of the fixed prompts a run answers at each evaluation."""
    asked = run["training"]["eval_generation"]
    if asked is None or CONFIG["generation"]["prompts"] is None:
        return 0
    return asked["prompts"]


def asked_prompts_digest(wildcards):
    """Return what these prompts are; None without any."""
    count = asked_prompts(CONFIG["runs"][wildcards.run])
    if not count:
        return None
    path = Path(project_path(CONFIG["generation"]["prompts"]))
    return sha256_json(list(islice(read_prompts(path), count)))


def training_code(stage, spec):
    """Return the digest of the code of a training, with what its settings ask for."""
    asked = [code(f"sftflow/{name}") for name in asked_modules(spec)]
    return "".join([code(stage), *asked])


def train_code(wildcards):
    """Return the digest of the code of a run."""
    run = CONFIG["runs"][wildcards.run]
    stage = "train_adapter" if run["dpo"] is None else "train_preferences"
    return training_code(stage, training_basis(wildcards.run, run))


def train_packages(wildcards):
    """Return the versions that shape a run, with those of the scores if it has any."""
    run, groups = CONFIG["runs"][wildcards.run], ["train"]
    asked = run["training"]["eval_generation"]
    if asked is not None and asked["rows"] > 0:
        groups.append("scores")
    if needed_packages(run["launch"]) and lacking_package(run["launch"]) is None:
        groups.append("deepspeed")
    if bitsandbytes_asked(run["method"], run["training"]) and find_spec("bitsandbytes"):
        groups.append("bitsandbytes")
    return packages(*groups)


def run_trackers(wildcards):
    """Return the trackers that a run tells its figures to."""
    return CONFIG["runs"][wildcards.run]["training"]["report_to"]


def trained_texts(run):
    """Return the names of the texts that a run's training reads."""
    return [] if run["training"]["ewc"] is None else [run["training"]["ewc"]["text"]]


def trained_texts_digest(wildcards):
    """Return what those texts say."""
    names = trained_texts(CONFIG["runs"][wildcards.run])
    return sha256_json(
        {n: content_digest(project_path(CONFIG["texts"][n])) for n in names}
    )


def merge_spec(wildcards):
    """Return what the merge of a run rests on."""
    run = CONFIG["runs"][wildcards.run]
    return spec_text(run=wildcards.run, method=run["method"], dtype=run["merge_dtype"])


def run_gpus(wildcards):
    """Return the GPUs of a training on one node, one per process; None on several (node_gpus)."""
    launch = CONFIG["runs"][wildcards.run]["launch"]
    return launch["num_processes"] if launch["num_nodes"] == 1 else None


def node_gpus(wildcards):
    """Return, as Slurm says it, the GPUs on each of several nodes; None without GPUs."""
    launch, gpus = (
        CONFIG["runs"][wildcards.run]["launch"],
        workflow.global_resources["gpu"],
    )
    if launch["num_nodes"] == 1 or not gpus.value:
        return None
    return f"gpu:{launch['num_processes'] // launch['num_nodes']}"


def run_nodes(wildcards):
    """Return the nodes of a training."""
    return CONFIG["runs"][wildcards.run]["launch"]["num_nodes"]


def run_tasks(wildcards):
    """Return the tasks of a training on several nodes, one on each; None on one."""
    nodes = run_nodes(wildcards)
    return nodes if nodes > 1 else None


def run_starter(wildcards):
    """Return what starts these tasks from inside of the job; None on one node."""
    return "srun" if run_nodes(wildcards) > 1 else None


def untrainable_here():
    """Return why a training that is due can't run on this machine, None if each may."""
    # At its end a dry run takes each job for finished.
    jobs = workflow.dag.needrun_jobs(exclude_finished=False)
    due = sorted({j.wildcards.run for j in jobs if j.rule.name in TRAINERS})
    for run in due:
        package = missing_package(CONFIG["runs"][run]["training"]["report_to"])
        if package:
            return (
                f"runs.{run}.training.report_to: {package} is not installed; run "
                f"`python -m pip install {package}` or leave it out"
            )
        if fault := unlaunchable_here(CONFIG["runs"][run]["launch"]):
            return f"runs.{run}: {fault}"
        if not workflow.non_local_exec and (fault := device_fault(CONFIG["runs"][run])):
            lacking, instead = fault
            return f"runs.{run}.{lacking}, or use {instead}"
    return None


def unlaunchable_here(launch):
    """Return why a training's processes can't be started, None if they can as far as is seen.

    On a cluster this machine says nothing of GPUs, and with --sdm nothing of packages.
    """
    if launch["num_processes"] == 1:
        return None
    try:
        if not workflow.non_local_exec:
            check_devices(launch, gpu_count())
        elif not workflow.deployment_settings.deployment_method:
            check_packages(launch)
    except StageError as error:
        return str(error)


def tell_untrainable_after_dry_run():
    """Say below the plan of a dry run what would end the workflow when it starts."""
    if workflow.dryrun and getattr(workflow, "_dag", None) is not None:
        if fault := untrainable_here():
            sys.stderr.write(f"this machine: {fault}\n")


if workflow.is_main_process:
    atexit.register(tell_untrainable_after_dry_run)
