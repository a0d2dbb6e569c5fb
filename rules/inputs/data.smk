"""What sources and datasets read and rest on: input and params functions. No rules here."""

from sftflow.cleaningstep import REQUEST_BOUNDS


def source_paths(wildcards):
    """Return the raw files of a source as the config names them, as a list."""
    entry = CONFIG["sources"][wildcards.source]
    if entry["make"] is not None:
        made = f"results/sources/{wildcards.source}/made/made.jsonl"
        return [os.path.relpath(made, CONFIG["root"])]
    return entry["path"] if isinstance(entry["path"], list) else [entry["path"]]


def source_files(wildcards):
    """Return the files and folders of a source, globs expanded; their time stamps say nothing."""
    import glob

    if CONFIG["sources"][wildcards.source]["make"] is not None:
        return [f"results/sources/{wildcards.source}/made/made.jsonl"]
    paths = [project_path(path) for path in source_paths(wildcards)]
    return [
        p for path in paths for p in sorted(glob.glob(path, recursive=True)) or [path]
    ]


def source_digest(wildcards):
    """Return what the raw files hold, and what a row's record calls them; not where they lie."""
    if CONFIG["sources"][wildcards.source]["make"] is not None:
        return ""  # its file is made here: an input like others
    notes = Notes()
    try:
        paths = [project_path(path) for path in source_paths(wildcards)]
        files = rawfiles.source_files(paths, notes)
    except StageError as error:  # which the stage will say, too
        return str(error)
    return sha256_json(
        [[(f.name, DIGESTS.content(f.path)) for f in files], notes.summary()]
    )


def source_spec(wildcards):
    """Return the settings of one source."""
    entry = CONFIG["sources"][wildcards.source]
    settings = {
        k: v for k, v in entry.items() if k not in ("description", "path", "make")
    }
    if not settings["reasoning_tags"]:
        settings.pop("reasoning_tags")
    if entry["make"] is not None and settings["columns"] is None:
        settings["columns"] = {"group": "group", "tags": "tags"}  # as in made.jsonl
    return spec_text(source=wildcards.source, path=source_paths(wildcards), **settings)


def source_outputs(name):
    """Return an input function: the file ``name`` of each source of a dataset."""

    def paths(wildcards):
        sources = CONFIG["datasets"][wildcards.dataset]["sources"]
        return [f"results/sources/{source}/{name}" for source in sources]

    return paths


def source_folders(wildcards):
    """Return the folders of a dataset's sources."""
    return [os.path.dirname(p) for p in source_outputs("records.parquet")(wildcards)]


def step_packages(step):
    """Return the packages that a cleaning step uses as it is set, as its manifest will name them."""
    used = {
        "normalize_text": ("ftfy",) if step.get("fix_mojibake") else (),
        "near_duplicates": PACKAGES["near"],
        "semantic_duplicates": PACKAGES["embeddings"],
        "conflicts": PACKAGES["near"] if step.get("near") else (),
        "language": ("py3langid",),
        "personal_data": ("phonenumbers",) if "phone" in step.get("kinds", ()) else (),
        "secrets": ("detect-secrets",),
        "format": ("markdown-it-py",) if step.get("markdown") == "strip" else (),
    }
    return used.get(step["step"], ())


def clean_packages(wildcards):
    """Return the versions of the packages that the cleaning of one dataset uses."""
    steps = CONFIG["datasets"][wildcards.dataset]["clean"]
    used = {name for step in steps for name in step_packages(step)}
    if clean_judge(wildcards):
        used.update(PACKAGES["serve"])
    return package_versions({*PACKAGES["data"], *used})


def clean_server(wildcards):
    """Return the file of the server that judges in a dataset, as a list: elsewhere there is none."""
    path = generators.judge_server(CONFIG, wildcards.dataset)
    return [] if path is None else [path]


def clean_judge(wildcards):
    """Return what vouches for the files of the base that judges, as a list."""
    steps = CONFIG["datasets"][wildcards.dataset]["clean"]
    return [model_sums(base) for base in generators.served_judges(steps)]


def clean_threads(wildcards):
    """Return the threads of a cleaning: none beside a server, which has the cores."""
    return 0 if clean_judge(wildcards) else 1


def clean_code(wildcards):
    """Return the digest of the code that cleans a dataset."""
    return code("clean_dataset") + (
        code("serve_model") if clean_judge(wildcards) else ""
    )


def clean_models(wildcards):
    """Return what the local models of a cleaning hold, and what its manifest calls them.

    A hub's revision says it itself.
    """
    steps = plan.embedding_steps(CONFIG, wildcards.dataset)
    return [
        [Path(step["model"]).name, embedding_digest(step["model"])]
        for step in steps
        if step["revision"] is None
    ]


def embedding_digest(folder):
    """Return what the files of an embedding model hold, wherever they lie."""
    files = embedding_files(Path(project_path(folder)))
    return sha256_json([(n, DIGESTS.content(p)) for n, p in files.items()])


def clean_places(wildcards):
    """Return what of the cleaning's settings shapes no row: where models lie, how a judge is asked."""
    found = []
    for n, step in enumerate(CONFIG["datasets"][wildcards.dataset]["clean"]):
        if step["step"] == "semantic_duplicates" and step["revision"] is None:
            found.append(f"clean.{n}.model")
        if step["step"] == "judge":
            found += [f"clean.{n}.{key}" for key in REQUEST_BOUNDS]
    return found


def clean_gpus(wildcards):
    """Return the GPUs of a cleaning: an embedding model takes one, unless a served judge has it."""
    embeds = plan.embedding_steps(CONFIG, wildcards.dataset)
    return 1 if embeds and not clean_judge(wildcards) else 0


def clean_spec(wildcards):
    """Return what the cleaning of one dataset rests on."""
    entry = CONFIG["datasets"][wildcards.dataset]
    keys = ("sources", "clean", "max_rejected_fraction")
    served = {"serve": reply_settings()} if clean_judge(wildcards) else {}
    return spec_text(dataset=wildcards.dataset, **{k: entry[k] for k in keys}, **served)


def map_step(wildcards):
    """Return the cleaning step by whose model the map of one dataset is made: the first with one."""
    return plan.embedding_steps(CONFIG, wildcards.dataset)[0]


def map_spec(wildcards):
    """Return what the map of one dataset rests on."""
    keys = ("model", "revision", "batch_size")
    step = map_step(wildcards)
    return spec_text(dataset=wildcards.dataset, **{key: step[key] for key in keys})


def map_model(wildcards):
    """Return what the map's model holds, as a list: none of a hub."""
    step = map_step(wildcards)
    return [] if step["revision"] else [embedding_digest(step["model"])]


def map_places(wildcards):
    """Return what of the map's settings only says where its model lies."""
    return [] if map_step(wildcards)["revision"] else ["model"]


def split_spec(wildcards):
    """Return what the split of one dataset rests on."""
    entry = CONFIG["datasets"][wildcards.dataset]
    return spec_text(dataset=wildcards.dataset, split=entry["split"])


def dataset_tokens(wildcards):
    """Return the manifests of a dataset's tokens: one for each form that some run needs."""
    return [
        f"results/templated/{key}/manifest.json"
        for key, spec in TEMPLATED.items()
        if spec["dataset"] == wildcards.dataset
    ]


def dataset_overlaps(wildcards):
    """Return what was found of benchmark questions, as a list: where nothing is asked, none."""
    if not plan.checks_questions(CONFIG, wildcards.dataset):
        return []
    return [f"results/datasets/{wildcards.dataset}/contamination.json"]


def dataset_map(wildcards):
    """Return the map of a dataset's prompts, as a list: without an embedding model, none."""
    if not plan.embedding_steps(CONFIG, wildcards.dataset):
        return []
    return [f"results/datasets/{wildcards.dataset}/map.json"]


def dataset_mix(wildcards):
    """Return the manifest of what trainings read, as a list: where they read the split, none."""
    folder = plan.training_folder(CONFIG, wildcards.dataset)
    mixed = os.path.basename(folder) == "mixed"
    return [f"{folder}/manifest.json"] if mixed else []


def dataset_mix_rows(wildcards):
    """Return the training rows of that mix, as a list."""
    folders = map(os.path.dirname, dataset_mix(wildcards))
    return [f"{folder}/train.parquet" for folder in folders]


def earlier_portrait(wildcards):
    """Return the portrait that a dataset is compared with, as a list: it may be none."""
    named = CONFIG["datasets"][wildcards.dataset]["compare_with"]
    if named is None:
        return []
    if named in CONFIG["datasets"]:
        return [f"results/datasets/{named}/portrait.json"]
    path = project_path(named)
    return [os.path.join(path, "portrait.json") if os.path.isdir(path) else path]


def earlier_digest(wildcards):
    """Return what a portrait from outside says; one that is made here is an input like others."""
    paths = earlier_portrait(wildcards)
    return [content_digest(p) for p in paths if not p.startswith("results/")]


def portrait_packages(wildcards):
    """Return the versions of the packages that shape a dataset's page."""
    compared = ["drift"] if earlier_portrait(wildcards) else []
    return packages("report", "languages", *compared)


def portrait_spec(wildcards):
    """Return what a dataset's page says of itself."""
    entry = CONFIG["datasets"][wildcards.dataset]
    return spec_text(dataset=wildcards.dataset, compare_with=entry["compare_with"])
