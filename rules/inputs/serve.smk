"""What servers read and rest on: input and params functions. No rules here."""

from sftflow.loraserving import adapter_rank, server_rank

MEMORY = (
    "gpu_memory_utilization",
    "cpu_kvcache_gib",
)  # room for requests: changes no answer


def model_sums(model):
    """Return what vouches for all files of a model."""
    return f"results/models/{model}/SHA256SUMS"


def served_model(wildcards):
    """Return what vouches for all files of the model that is served, and its adapter if it is one.

    Other adapters on the same server change nothing of what it says.
    """
    if not plan.is_adapter(wildcards.model):
        return model_sums(wildcards.model)
    start = plan.start_of(CONFIG, wildcards.model)
    return [model_sums(start), adapter_folder(wildcards.model)]


def model_folder(wildcards):
    """Return the folder of the weights and the tokenizer that a model is served with."""
    return plan.model_folder(CONFIG, wildcards.model)


def model_server(wildcards):
    """Return the file of the server that measures a model."""
    if not plan.is_adapter(wildcards.model):
        return f"results/eval/{wildcards.model}/server.json"
    return f"results/adapters/{plan.start_of(CONFIG, wildcards.model)}/server.json"


def adapter_folder(model):
    """Return the folder of the adapter of a model that is not merged."""
    return f"results/runs/{plan.run_of(CONFIG, model)}/adapter"


def start_sums(wildcards):
    """Return what vouches for all files of the model that adapters are served on."""
    return model_sums(wildcards.start)


def adapter_folders(wildcards):
    """Return the folders of all adapters that one server serves."""
    return [adapter_folder(m) for m in plan.adapters_on(CONFIG, wildcards.start)]


def adapter_names(wildcards):
    """Return these adapters as the names of their models and their folders."""
    names = plan.adapters_on(CONFIG, wildcards.start)
    return [f"{model}={adapter_folder(model)}" for model in names]


def serve_settings(*without):
    """Return the server's settings on which a measurement rests."""
    left_out = {"start_timeout_s", "lora", *without}
    return {k: v for k, v in CONFIG["serve"].items() if k not in left_out}


def reply_settings():
    """Return the server's settings on which a reply rests."""
    return serve_settings(*MEMORY)


def server_spec(model):
    """Return the settings of the server of a model."""
    return spec_text(**server_settings(model))


def server_settings(model):
    """Return the settings of a server of one model."""
    base = CONFIG["bases"][plan.root_base(CONFIG, model)]
    settings = {k: v for k, v in CONFIG["serve"].items() if k != "lora"}
    return {
        "model": model,
        "trust_remote_code": base["trust_remote_code"],
        **settings,
    }


def lora_settings(start):
    """Return how many adapters, and of which rank, the server of a start model has room for.

    A larger rank than an adapter's own is filled up with zeros: the same answers, in more time. So
    latency rests on it, and nothing else does.
    """
    asked = CONFIG["serve"]["lora"]
    runs = [plan.run_of(CONFIG, model) for model in plan.adapters_on(CONFIG, start)]
    ranks = [adapter_rank(CONFIG["runs"][run]) for run in runs]
    rank = asked["max_lora_rank"] or server_rank(max(ranks))
    return {"max_loras": asked["max_loras"], "max_lora_rank": rank}


def adapters_spec(wildcards):
    """Return the settings of the server of a start model with its adapters."""
    start = wildcards.start
    return spec_text(**server_settings(start), lora=lora_settings(start))


def serve_spec(wildcards):
    """Return the settings of the server that measures a model."""
    return server_spec(wildcards.model)


def generator_spec(wildcards):
    """Return the settings of the server of a base that makes or judges data."""
    return server_spec(wildcards.base)
