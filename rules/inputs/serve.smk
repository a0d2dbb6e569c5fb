"""What servers read and rest on: input and params functions. No rules here."""

MEMORY = (
    "gpu_memory_utilization",
    "cpu_kvcache_gib",
)  # room for requests: changes no answer


def model_sums(model):
    """Return what vouches for all files of a model."""
    return f"results/models/{model}/SHA256SUMS"


def served_model(wildcards):
    """Return what vouches for all files of the model that is served."""
    return model_sums(wildcards.model)


def serve_settings(*without):
    """Return the server's settings on which a measurement rests."""
    left_out = {"start_timeout_s", *without}
    return {k: v for k, v in CONFIG["serve"].items() if k not in left_out}


def reply_settings():
    """Return the server's settings on which a reply rests."""
    return serve_settings(*MEMORY)


def server_spec(model):
    """Return the settings of the server of a model."""
    base = CONFIG["bases"][plan.root_base(CONFIG, model)]
    return spec_text(
        model=model, trust_remote_code=base["trust_remote_code"], **CONFIG["serve"]
    )


def serve_spec(wildcards):
    """Return the settings of the server that measures a model."""
    return server_spec(wildcards.model)


def generator_spec(wildcards):
    """Return the settings of the server of a base that makes or judges data."""
    return server_spec(wildcards.base)
