"""What must hold of runs that are served as adapters; sentences, [] if all is well."""

from __future__ import annotations

from collections.abc import Iterator

from sftflow.loraserving import RANKS, adapter_rank, server_rank
from sftflow.methods import METHODS

MERGED = "use serve: merged"


def adapter_faults(config: dict) -> Iterator[str]:
    """Yield the faults of runs.*.serve; references of runs are sound."""
    largest = config["serve"]["lora"]["max_lora_rank"]
    for name, run in config["runs"].items():
        start = config["runs"].get(run["base"])
        if start and start["serve"] == "adapter" and start["measure"] and run["measure"]:
            yield (
                f"runs.{name}.base: this run starts from the merged model of '{run['base']}' and "
                "is compared with it, and only its adapter is measured; set "
                f"runs.{run['base']}.serve: both"
            )
        if run["serve"] == "merged":
            continue
        if not run["measure"]:
            yield (
                f"runs.{name}.serve: nothing is measured of this run (measure: false); leave one "
                "of them out"
            )
        fault = unserved(run)
        if fault:
            yield f"runs.{name}.serve: {fault}"
        elif largest is not None and adapter_rank(run) > largest:
            yield (
                f"serve.lora.max_lora_rank: {largest} is less than the rank {adapter_rank(run)} of "
                f"the adapter of runs.{name}; raise it or leave it out"
            )


def unserved(run: dict) -> str | None:
    """Return why vLLM (0.32) can't serve what a run leaves as an adapter, None if it can.

    The reasons are those of vllm/lora/peft_helper.py.
    """
    method = run["method"]
    if METHODS[method].plain:
        return f"{method} trains the model's own weights and leaves no adapter; {MERGED}"
    if METHODS[method].options != "lora":
        return f"vLLM serves LoRA adapters, and what {method} leaves is none; {MERGED}"
    if run["lora"]["use_dora"]:
        return f"vLLM serves no DoRA (lora.use_dora); {MERGED}"
    rank = adapter_rank(run)
    if server_rank(rank) is None:
        return f"vLLM serves adapters up to rank {RANKS[-1]}, this one has {rank}; {MERGED}"
    return None
