"""Whole models read from a folder, and how they are written: nothing missing, in shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sftflow.remotecode import may_run_code
from sftflow.stage import StageError

SHARD = "4GB"  # of a safetensors file at most


def load(folder: Path, dtype: str = "float32") -> Any:
    """Load a model folder; on a GPU if there is one.

    Raises StageError if weights and config don't fit, where transformers would make up numbers.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=may_run_code(folder),
        output_loading_info=True,
    )
    wrong = sorted(info["missing_keys"]) + sorted(info["unexpected_keys"])
    if wrong:
        raise StageError(f"{folder}: weights and config don't fit, first at {wrong[0]}")
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def saved_dtype(folder: Path) -> str:
    """Return the dtype that a folder's config names, float32 where it names none."""
    from transformers import AutoConfig

    code = may_run_code(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=code)
    return str(config.get_text_config().dtype or "float32").removeprefix("torch.")
