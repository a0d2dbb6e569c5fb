"""The folder that a training leaves: weights and configs, the same bytes for the same training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sftflow.launching import is_first
from sftflow.manifests import write_text

INITIAL = "initial"  # beside the checkpoints: an adapter as it was before the first step


def keep_initial(model: Any, folder: Path) -> None:
    """Keep the adapter of ``model`` as it begins, to be taken off again by convert_moved."""
    if is_first():
        model.save_pretrained(str(folder / INITIAL))


def convert_moved(model: Any, adapter: Path, folder: Path) -> None:
    """Write an adapter that began with a part of the weights as one for the untouched weights.

    W = R + A0 B0 became R + A B, so the change is A B - A0 B0: a plain LoRA of twice the rank
    (arXiv:2404.02948, section 3 and appendix on converting PiSSA to LoRA).
    """
    model.save_pretrained(
        str(adapter), path_initial_model_for_weight_conversion=str(folder / INITIAL)
    )


def tidy_adapter(folder: Path, base: str) -> None:
    """Leave weights and configs only, with the same bytes for the same training.

    ``base`` is the name of the start model; PEFT may have put its path.
    """
    for path in folder.iterdir():
        if path.suffix != ".safetensors" and path.name not in (
            "adapter_config.json",
            "config.json",
            "generation_config.json",
            "model.safetensors.index.json",
        ):
            path.unlink()
    config = folder / "adapter_config.json"
    if config.is_file():  # PEFT writes its sets in the order of this process's hashes
        values = json.loads(config.read_text(encoding="utf-8"))
        values = {k: sorted(v) if isinstance(v, list) else v for k, v in values.items()}
        if values.get("tokenizer_name_or_path"):
            values["tokenizer_name_or_path"] = base
        write_text(config, json.dumps(values, indent=1, sort_keys=True) + "\n")
