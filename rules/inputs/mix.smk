"""What contamination and mix read and rest on: input and params functions. No rules here."""

from sftflow.suites import question_files, question_settings


def question_suites(wildcards):
    """Return the suites that measure what is trained on a dataset."""
    return plan.dataset_suites(CONFIG, wildcards.dataset)


def question_rows(wildcards):
    """Return the files of datasets that hold questions of those suites."""
    found = []
    for suite in question_suites(wildcards):
        folder = f"results/datasets/{CONFIG['suites'][suite]['dataset']}"
        for text in question_files(suite_settings(suite), "dataset"):
            found.append(text.replace("{dataset}", folder))
    return sorted(set(found))


def question_tasks(wildcards):
    """Return what the own tasks of those suites ask, with the data they bring."""
    said = {}
    for suite in question_suites(wildcards):
        settings, folder = suite_settings(suite), CONFIG["suites"][suite]["folder"]
        said[suite] = [
            {name: question_settings(task) for name, task in settings.items()},
            [
                content_digest(project_path(text.replace("{folder}", folder)))
                for text in question_files(settings, "folder")
            ]
            + [content_digest(text) for text in question_files(settings, None)],
        ]
    return sha256_json(said)


def contamination_spec(wildcards):
    """Return whose questions are looked for, and how; what is done about them is not asked."""
    entry = CONFIG["datasets"][wildcards.dataset]["decontaminate"]
    keys = ("folder", "tasks", "dataset")
    suites = {
        name: {key: CONFIG["suites"][name][key] for key in keys}
        for name in question_suites(wildcards)
    }
    how = {key: value for key, value in entry.items() if key != "action"}
    return spec_text(dataset=wildcards.dataset, suites=suites, **how)


def matches_to_drop(wildcards):
    """Return the rows that a dataset leaves out, if it does."""
    if not plan.drops_questions(CONFIG, wildcards.dataset):
        return []
    return [f"results/datasets/{wildcards.dataset}/contamination.parquet"]


def contamination_option(wildcards, input):
    """Return the option that names that file."""
    return f"--contamination {input.contamination}" if input.contamination else ""


def mix_spec(wildcards):
    """Return in which mix a dataset's sources are trained on."""
    entry = CONFIG["datasets"][wildcards.dataset]
    return spec_text(
        dataset=wildcards.dataset,
        sources=entry["sources"],
        mix=entry["mix"],
        drop=plan.drops_questions(CONFIG, wildcards.dataset),
    )


def all_contamination(wildcards):
    """Return the findings of every dataset that is compared with benchmark questions."""
    names = (name for name in CONFIG["datasets"] if plan.checks_questions(CONFIG, name))
    return [f"results/datasets/{name}/contamination.json" for name in names]
