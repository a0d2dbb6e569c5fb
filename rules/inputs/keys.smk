"""Keys of endpoints, which come from the environment: asked for before any job. No rules here."""

import atexit


def keys_of(job):
    """Return (key of the config, environment variable) of each endpoint that a job asks."""
    name, wildcards = job.rule.name, job.wildcards
    if name == "make_source":
        entries = {f"sources.{wildcards.source}.make.endpoint": made_entry(wildcards)}
    elif name == "judge_pair":
        entries = {
            f"judges.{wildcards.judge}.endpoint": CONFIG["judges"][wildcards.judge]
        }
    elif name == "clean_dataset":
        steps = CONFIG["datasets"][wildcards.dataset]["clean"]
        place = f"datasets.{wildcards.dataset}.clean"
        entries = {f"{place}[{n}]": {"endpoint": one} for n, one in enumerate(steps)}
    else:
        return []
    asked = {
        key: entry["endpoint"].get("api_key_env") for key, entry in entries.items()
    }
    return [(key, variable) for key, variable in asked.items() if variable]


def unkeyed_here():
    """Return which key that a due job needs is not in the environment, None if each is.

    On a cluster the environment of the jobs is another one.
    """
    if workflow.non_local_exec:
        return None
    due = workflow.dag.needrun_jobs(exclude_finished=False)
    needed = sorted({pair for job in due for pair in keys_of(job)})
    for key, variable in needed:
        if not os.environ.get(variable, "").strip():
            return (
                f"{key}.api_key_env: the environment variable {variable} is not set; "
                f"`export {variable}=...` with the key of that endpoint"
            )
    return None


def tell_unkeyed_after_dry_run():
    """Say below the plan of a dry run which key would be missed when it starts."""
    if workflow.dryrun and getattr(workflow, "_dag", None) is not None:
        if fault := unkeyed_here():
            sys.stderr.write(f"this machine: {fault}\n")


if workflow.is_main_process:
    atexit.register(tell_unkeyed_after_dry_run)
