"""What the history reads and rests on: input and params functions. No rules here."""

from types import SimpleNamespace


def measured_manifests(wildcards):
    """Return the manifests of the runs whose models are measured."""
    return [f"results/runs/{run}/manifest.json" for run in plan.measured_runs(CONFIG)]


def all_test_sums(wildcards):
    """Return the digests of the test rows of all of them."""
    runs = plan.measured_runs(CONFIG)
    names = {name for run in runs for name in plan.model_datasets(CONFIG, run)}
    return [f"results/datasets/{name}/SHA256SUMS" for name in sorted(names)]


def suite_digest(suite):
    """Return a digest of what a suite asks, wherever its task files lie."""
    entry = {
        key: value
        for key, value in CONFIG["suites"][suite].items()
        if key not in ("description", "folder")
    }
    return sha256_json([entry, suite_tasks(SimpleNamespace(suite=suite))])[:16]


def text_digests():
    """Return a digest of each held-out text."""
    texts = CONFIG["texts"].items()
    return {name: content_digest(project_path(path)) for name, path in texts}


def history_spec():
    """Return the models that are followed, and what each is measured on."""
    texts = text_digests()
    return spec_text(
        models=[
            {
                "name": plan.forms(CONFIG, run)[0],
                "run": run,
                "datasets": plan.model_datasets(CONFIG, run),
                "suites": {s: suite_digest(s) for s in plan.model_suites(CONFIG, run)},
                "texts": texts,
            }
            for run in plan.measured_runs(CONFIG)
        ]
    )
