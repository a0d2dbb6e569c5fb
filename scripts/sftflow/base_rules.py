"""What a method asks of the layers of its base, as far as config.json tells before any job.

What only the weights tell is told when they are loaded (adapting.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sftflow.baseconfigs import base_config
from sftflow.experts import expert_faults, names_experts
from sftflow.layerkinds import ATTENDING
from sftflow.methods import METHODS
from sftflow.modelshape import shape_of
from sftflow.plan import root_base


def base_faults(config: dict, root: Path) -> Iterator[str]:
    """Yield the faults of runs whose base can't be trained so; references are sound."""
    for name, run in config["runs"].items():
        base = root_base(config, name)
        for fault in _faults(run, base_config(config, root, base), base):
            yield f"runs.{name}.{fault}"


def _faults(run: Mapping[str, Any], known: Mapping[str, Any], base: str) -> Iterator[str]:
    method = run["method"]
    if METHODS[method].options == "lora":
        lora, kind = run["lora"], str(known.get("model_type"))
        yield from expert_faults(lora, base) if names_experts(kind, lora["target_modules"]) else ()
    shape = shape_of(known)
    if method == "bitfit" and shape is not None and not shape.layer_biases:
        yield f"method: bitfit trains biases, and {base} has none; use ia3 or lora"
    kinds = known.get("layer_types")
    if not isinstance(kinds, list) or ATTENDING.issuperset(map(str, kinds)):
        return
    if method == "prefix":
        yield (
            f"method: prefix: {base} has layers without keys and values to put others before; use "
            "prompt or lora"
        )
    if run["training"]["batching"] == "packed":
        yield (
            f"training.batching: {base} can't be packed: its layers carry a state or a convolution "
            "from row to row; use grouped"
        )
