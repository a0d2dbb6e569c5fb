"""What quantised exports read and rest on, and whether they can be served here. No rules here."""

import atexit

from sftflow.measuring_rules import unserved_on_cpu
from sftflow.schemes import SCHEMES


def quantized_from(wildcards):
    """Return what vouches for all files of the merged model that is quantised."""
    return f"results/models/{plan.run_of(CONFIG, wildcards.quantized)}/SHA256SUMS"


def quantized_tokens(wildcards):
    """Return the tokens of its run, on which the two models are compared."""
    key = plan.templated_key(CONFIG, plan.run_of(CONFIG, wildcards.quantized))
    folder = f"results/templated/{key}"
    return [f"{folder}/train.parquet", f"{folder}/validation.parquet"]


def quantize_spec(wildcards):
    """Return which model is quantised, and how."""
    return spec_text(
        model=wildcards.quantized,
        run=plan.run_of(CONFIG, wildcards.quantized),
        scheme=plan.form_of(wildcards.quantized),
    )


def unserved_here():
    """Return why a model that is due can't be served on this machine, None if each may."""
    if gpu_count() or workflow.non_local_exec:
        return None
    due = workflow.dag.needrun_jobs(exclude_finished=False)
    jobs = [job for job in due if job.rule.name == "serve_model"]
    # In a dry run for a cluster only the profile tells: it says what memory a job gets.
    here = {j.wildcards.model for j in jobs if j.resources.get("mem_mb") is None}
    for model in sorted(here):
        if fault := unserved_on_cpu(CONFIG, model):
            return fault
        scheme = SCHEMES.get(plan.form_of(model))
        if scheme and not scheme.on_cpu:
            there = ", ".join(name for name, known in SCHEMES.items() if known.on_cpu)
            return (
                f"runs.{plan.run_of(CONFIG, model)}.quantize: vLLM serves "
                f"{plan.form_of(model)} on a GPU only, and there is none; use {there}"
            )
    return None


def tell_unserved_after_dry_run():
    """Say below the plan of a dry run which model can't be served here."""
    if workflow.dryrun and getattr(workflow, "_dag", None) is not None:
        if fault := unserved_here():
            sys.stderr.write(f"serve: {fault}\n")


if workflow.is_main_process:
    atexit.register(tell_unserved_after_dry_run)
