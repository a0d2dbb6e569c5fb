"""Whether the trainings that are due fit their device, as far as can be known. No rules here."""

import atexit

from sftflow import memoryfit
from sftflow.machinechecks import usable_memory


def memory_check(wildcards):
    """Return whether a training tries its dearest moments first, and its estimate (bytes)."""
    run = CONFIG["runs"][wildcards.run]
    shape = memoryfit.base_shape(CONFIG, wildcards.run, Path("results"))
    estimate = None
    if shape is not None:
        kind = "cuda" if gpu_count() else "cpu"  # of the machine that runs this job
        estimate = memoryfit.expected(shape, run, kind).told()
    return spec_text(check=run["check_memory"], estimate=estimate)


def training_device(job):
    """Return what a process of a training has; None where nobody knows.

    A profile says what memory a job gets, and GPUs elsewhere are not seen from here.
    """
    launch = CONFIG["runs"][job.wildcards.run]["launch"]
    on_node = launch["num_processes"] // launch["num_nodes"]
    memory_mb = job.resources.get("mem_mb")
    if memory_mb is None and not workflow.non_local_exec:
        sizes = memoryfit.gpu_sizes()
        if sizes:
            return memoryfit.Device("cuda", max(sizes), "the GPU")
        if not gpu_count():
            size = usable_memory() // on_node
            return memoryfit.Device("cpu", size, "this machine")
        return None
    if workflow.global_resources["gpu"].value:
        gib = CONFIG["cluster"]["gpu_memory_gib"]
        size = None if gib is None else int(gib * memoryfit.GIB)
        return size and memoryfit.Device("cuda", size, "cluster.gpu_memory_gib")
    if not isinstance(memory_mb, int):
        return None
    return memoryfit.Device("cpu", memory_mb * 10**6 // on_node, "its job (mem_mb)")


def unfit_runs():
    """Return what is to be said of the trainings that are due."""
    # At its end a dry run takes each job for finished.
    due = workflow.dag.needrun_jobs(exclude_finished=False)
    trainings = ("train_adapter", "train_preferences")
    jobs = [job for job in due if job.rule.name in trainings]
    devices = {j.wildcards.run: training_device(j) for j in jobs}
    found = [
        memoryfit.fit(CONFIG, run, device)
        for run, device in sorted(devices.items())
        if device
    ]
    return [one for one in found if one]


def refuse_what_cannot_fit():
    """End before any job if a training can't fit; warn if one may not."""
    found = unfit_runs()
    for one in found:
        if not one.sure:
            sys.stderr.write(f"warning: {one.sentence}\n")
    if unfit := [one.sentence for one in found if one.sure]:
        more = "; set check_memory: false for runs that you want tried all the same"
        sys.exit("\n".join(unfit) + more)


def tell_after_dry_run():
    """Say below the plan of a dry run which trainings can't fit, or may not."""
    if workflow.dryrun and getattr(workflow, "_dag", None) is not None:
        for one in unfit_runs():
            sys.stderr.write(f"memory: {one.sentence}\n")


if workflow.is_main_process:
    atexit.register(tell_after_dry_run)
