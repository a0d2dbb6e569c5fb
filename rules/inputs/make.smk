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
    return spec_text(source=wildcards.source, endpoint=endpoint, **settings)


def make_limits(wildcards):
    """Return what bounds the requests, and where the key is found: no row rests on it."""
    entry = made_entry(wildcards)
    key = entry["endpoint"]["api_key_env"]
    return spec_text(api_key_env=key, **entry["limits"])
