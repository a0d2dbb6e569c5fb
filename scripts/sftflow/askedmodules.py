"""The modules of a training that only runs use which ask for them.

They are named here and imported nowhere: the code of a training that asks for none of them must not
go stale with them. The rules add the digests of those that a run asks for (rules/inputs/train.smk),
and no stage gets another one: both go by this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def asked_modules(spec: Mapping[str, Any]) -> list[str]:
    """Return those that a run with these settings (as train_adapter takes them) asks for."""
    training, lora = spec["training"], spec.get("lora", {})
    by_layer = training["layerwise_lr_decay"] is not None
    asked = {
        "averaging": training["average_checkpoints"] is not None,
        "evalgeneration": training.get("eval_generation") is not None,
        "ewc": training["ewc"] is not None,
        "packing": training["batching"] == "packed",
        "rates": by_layer or lora.get("lr_ratio") is not None,
    }
    return [name for name in asked if asked[name]]


def asked_module(spec: Mapping[str, Any], name: str) -> ModuleType | None:
    """Return a module if a run with these settings asks for it."""
    return import_module(f"sftflow.{name}") if name in asked_modules(spec) else None
