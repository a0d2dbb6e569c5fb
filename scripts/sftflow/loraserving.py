"""How vLLM serves LoRA adapters beside the weights that they were trained on: ranks and options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftflow.methods import MUTATING

# What vLLM (0.32) takes as --max-lora-rank: vllm/config/lora.py, MaxLoRARanks.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)

OPTIONS = (
    *("--enable-lora", "--lora-modules", "--max-loras"),
    *("--max-lora-rank", "--max-cpu-loras"),
)  # decided by the workflow


def adapter_rank(run: Mapping[str, Any]) -> int:
    """Return the rank of the adapter that a LoRA run leaves.

    One that began with a part of the weights (PiSSA, OLoRA) has twice the rank that was trained,
    as it is converted to the untouched weights.
    """
    rank = run["lora"]["r"]
    return 2 * rank if run["lora"]["init"] in MUTATING else rank


def server_rank(rank: int) -> int | None:
    """Return the smallest rank of a server that takes adapters of ``rank``; None if none does."""
    return next((known for known in RANKS if known >= rank), None)


def lora_options(lora: Mapping[str, Any], adapters: Mapping[str, Path]) -> list[str]:
    """Return vLLM's options for adapters by the names of their models.

    ``lora`` has max_loras, how many different ones a batch may hold, and max_lora_rank. All of
    them stay in memory, so that taking turns reads no file.
    """
    modules = [
        json.dumps({"name": name, "path": str(folder.resolve())})
        for name, folder in adapters.items()
    ]
    kept = max(lora["max_loras"], len(adapters))
    return [
        *("--enable-lora", "--max-loras", str(lora["max_loras"])),
        *("--max-lora-rank", str(lora["max_lora_rank"]), "--max-cpu-loras", str(kept)),
        *("--lora-modules", *modules),
    ]
