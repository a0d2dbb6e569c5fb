"""What what is asked of a server read and rest on: input and params functions. No rules here."""


def latency_spec(wildcards):
    """Return grid, rates and the server's settings; limits are laid on the figures later."""
    asked = {k: v for k, v in CONFIG["latency"].items() if k != "slo"}
    if plan.is_adapter(wildcards.model):
        asked["lora"] = lora_settings(plan.start_of(CONFIG, wildcards.model))
    return spec_text(model=wildcards.model, serve=serve_settings(), **asked)


def suite_spec(wildcards):
    """Return what one suite asks of one model."""
    entry = {
        k: v for k, v in CONFIG["suites"][wildcards.suite].items() if k != "description"
    }
    return spec_text(
        model=wildcards.model,
        suite=wildcards.suite,
        serve=reply_settings(),
        **entry,
    )


@cache
def suite_settings(suite):
    """Return what the task files of a suite's own folder say, {} if it has none."""
    entry = CONFIG["suites"][suite]
    if entry["folder"] is None:
        return {}
    try:
        return folder_tasks(Path(project_path(entry["folder"])), entry["tasks"])
    except StageError as error:
        sys.exit(f"config error: suites.{suite}: {error}")


def suite_files(suite, place):
    """Return the files below {place} that a suite's tasks read, as their files name them."""
    return named_files(
        suite_settings(suite), place, CONFIG["suites"][suite]["num_fewshot"]
    )


def suite_tasks(wildcards):
    """Return what a suite's tasks are, without comments and layout, with the data they bring."""
    settings = suite_settings(wildcards.suite)
    folder = CONFIG["suites"][wildcards.suite]["folder"]
    brought = [
        content_digest(project_path(text.replace("{folder}", folder)))
        for text in suite_files(wildcards.suite, "folder")
    ]
    shots = CONFIG["suites"][wildcards.suite]["num_fewshot"]
    brought += map(content_digest, placeless_files(settings, shots))
    return sha256_json([settings, brought]) if settings else None


def suite_rows(wildcards):
    """Return the files of a dataset that a suite's tasks read."""
    dataset = CONFIG["suites"][wildcards.suite]["dataset"]
    if dataset is None:
        return []
    return [
        text.replace("{dataset}", f"results/datasets/{dataset}")
        for text in suite_files(wildcards.suite, "dataset")
    ]


def suite_dataset_option(wildcards):
    """Return the option that names that dataset's folder."""
    dataset = CONFIG["suites"][wildcards.suite]["dataset"]
    return "" if dataset is None else f"--dataset results/datasets/{dataset}"


def dataset_sets(model):
    """Return the prompt sets of the datasets whose test rows a model answers."""
    return [
        {
            "name": name,
            "dataset": name,
            "split": "test",
            "path": None,
            "limit": CONFIG["generation"]["test_rows"],
        }
        for name in plan.model_datasets(CONFIG, model)
    ]


def answered_sets(wildcards):
    """Return the prompt sets that a model answers."""
    asked = CONFIG["generation"]
    sets = dataset_sets(wildcards.model)
    if asked["prompts"] is not None:
        sets.append(
            {
                "name": "prompts",
                "dataset": None,
                "split": None,
                "path": asked["prompts"],
                "limit": None,
            }
        )
    return sets


def generate_spec(wildcards):
    """Return what a model is asked, and how."""
    asked = CONFIG["generation"]
    return spec_text(
        model=wildcards.model,
        sets=answered_sets(wildcards),
        serve=reply_settings(),
        max_new_tokens=asked["max_new_tokens"],
        concurrency=asked["concurrency"],
    )


@cache
def prompts_said(path):
    """Return what the prompts of a file are, however it is laid out."""
    return sha256_json(list(read_prompts(Path(project_path(path)))))


def prompts_digest(wildcards):
    """Return the content of the fixed prompt set."""
    path = CONFIG["generation"]["prompts"]
    return None if path is None else prompts_said(path)


def answered_rows(wildcards):
    """Return the test rows that a model answers."""
    names = plan.model_datasets(CONFIG, wildcards.model)
    return [f"results/datasets/{name}/test.parquet" for name in names]
