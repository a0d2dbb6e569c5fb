"""What made sources start from and rest on: input and params functions. No rules here."""


def made_entry(wildcards):
    """Return what the config says of a made source."""
    return CONFIG["sources"][wildcards.source]["make"]


def make_seeds(wildcards):
    """Return what a source is made from: rows of another one, or a file of prompts."""
    named = made_entry(wildcards)["from"]
    if named in CONFIG["sources"]:
        return f"results/sources/{named}/records.parquet"
    return project_path(named)


def make_prompts_digest(wildcards):
    """Return what a file of prompts holds; a source is an input like others."""
    named = made_entry(wildcards)["from"]
    return "" if named in CONFIG["sources"] else content_digest(project_path(named))


def make_spec(wildcards):
    """Return what the rows of a made source rest on; where they come from is an input."""
    entry = made_entry(wildcards)
    settings = {
        k: v for k, v in entry.items() if k not in ("from", "endpoint", "limits")
    }
    endpoint = {k: v for k, v in entry["endpoint"].items() if k != "api_key_env"}
    if made_here(wildcards):
        del endpoint["base_url"]
        settings["serve"] = reply_settings()
    return spec_text(source=wildcards.source, endpoint=endpoint, **settings)


def make_limits(wildcards):
    """Return what bounds the requests, and where the key is found: no row rests on it."""
    entry = made_entry(wildcards)
    key = entry["endpoint"]["api_key_env"]
    return spec_text(api_key_env=key, **entry["limits"])


def made_here(wildcards):
    """Return the base of this config that makes a source, None if nothing is served for it."""
    return generators.maker(CONFIG, wildcards.source)


def make_server(wildcards):
    """Return the file of the server that is asked, as a list: elsewhere there is none."""
    path = generators.source_server(CONFIG, wildcards.source)
    return [] if path is None else [path]


def make_model(wildcards):
    """Return what vouches for the files of the base that makes a source, as a list."""
    base = made_here(wildcards)
    return [] if base is None else [model_sums(base)]


def make_threads(wildcards):
    """Return the threads of a making: none where it waits for a server, which has the cores."""
    return 0 if made_here(wildcards) else 1


def make_code(wildcards):
    """Return the digest of the code that makes a source."""
    here = made_here(wildcards)
    return code("make_source") + (code("serve_model") if here else "")


def make_packages(wildcards):
    """Return the versions of the packages that shape a made source."""
    return packages("data", *(["serve"] if made_here(wildcards) else []))
