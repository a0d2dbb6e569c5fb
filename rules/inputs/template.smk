"""What bases and templated data read and rest on: input and params functions. No rules here."""


def template_file(base):
    """Return the place of a base's chat template, None for the model's own."""
    name = CONFIG["bases"][base]["template"]
    if name == "native":
        return None
    if name.endswith(".jinja"):
        return project_path(name)
    return os.path.join(workflow.basedir, "config", "templates", f"{name}.jinja")


def base_spec(wildcards):
    """Return what one start model is made of."""
    entry = CONFIG["bases"][wildcards.base]
    left_out = {"description"}
    if not entry["chat_template_kwargs"]:
        left_out.add("chat_template_kwargs")
    settings = {k: v for k, v in entry.items() if k not in left_out}
    return spec_text(base=wildcards.base, **settings)


def fetch_spec(wildcards):
    """Return which files of the hub a base is made of."""
    entry = CONFIG["bases"][wildcards.base]
    return spec_text(**{k: entry[k] for k in ("hub", "revision", "trust_remote_code")})


def fetched_base(wildcards):
    """Return what vouches for the files that were fetched, if the base is one of the hub."""
    if CONFIG["bases"][wildcards.base]["hub"] is None:
        return []
    return [f"results/hub/{wildcards.base}/SHA256SUMS"]


def fetched_option(wildcards, input):
    """Return the option that names their folder."""
    return f"--fetched {os.path.dirname(input.fetched[0])}" if input.fetched else ""


def base_places(wildcards):
    """Return what of that only says where files lie: a template's own file, but no name."""
    own = CONFIG["bases"][wildcards.base]["template"].endswith(".jinja")
    return ["path", "template"] if own else ["path"]


def base_digest(wildcards):
    """Return the content of what a base is read from: its folder and its chat template."""
    entry, template = CONFIG["bases"][wildcards.base], template_file(wildcards.base)
    return [
        base_files_digest(entry) if entry["path"] is not None else None,
        content_digest(template) if template is not None else None,
    ]


def base_files_digest(entry):
    """Return what the files of a base's folder hold that a model is made of; no cards."""
    folder = Path(project_path(entry["path"]))
    if not folder.is_dir():
        return content_digest(str(folder))
    taken, left_out = model_parts(folder, entry["trust_remote_code"])
    return sha256_json([[(p.name, DIGESTS.content(p)) for p in taken], left_out])


def templated_rows(wildcards):
    """Return the rows that are templated."""
    folder = plan.training_folder(CONFIG, TEMPLATED[wildcards.key]["dataset"])
    return [f"{folder}/train.parquet", f"{folder}/validation.parquet"]


def templated_tokenizer(wildcards):
    """Return what vouches for the tokenizer and the chat template that are used."""
    return f"results/models/{TEMPLATED[wildcards.key]['base']}/TOKENIZER.SHA256SUMS"


def templated_spec(wildcards):
    """Return what decides the tokens."""
    return spec_text(**TEMPLATED[wildcards.key])
