"""Schemes of quantisation: what they are called, what they ask of a model's shape, where they run.

The names are those of llm-compressor and vLLM in small letters: w8a8 has weights and activations of
8 bits, w4a16 weights of 4 bits and activations as they are. The settings of each are the preset of
that name in compressed-tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scheme:
    """A scheme: compressed-tensors' preset, and what limits its use."""

    preset: str
    group_size: int | None = None  # inputs that share a scale; None: one scale per output channel
    on_cpu: bool = True  # whether vLLM (0.32) serves it without a GPU; tried


SCHEMES = {
    "w8a8": Scheme("W8A8"),
    "w4a16": Scheme("W4A16", group_size=128),
    "w8a16": Scheme("W8A16", group_size=128, on_cpu=False),
    "fp8_dynamic": Scheme("FP8_DYNAMIC"),
}

#: Keys of config.json that are the inputs of linear layers in all families with these names.
INPUTS = ("hidden_size", "intermediate_size")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
ASKED = (*INPUTS, *EXPERTS, "quantization_config")


def shape_faults(name: str, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a model can't be quantised by a scheme, as far as its config.json says it.

    ``config`` may lack any key, or hold None for what nobody knows.
    """
    size = SCHEMES[name].group_size
    experts = [key for key in EXPERTS if config.get(key)]
    if experts:
        yield f"{experts[0]} is {config[experts[0]]}: a mixture of experts is not quantised here"
    if config.get("quantization_config"):
        yield "the weights are quantised already"
    for key in INPUTS if size else ():
        width = config.get(key)
        if width and width % size:
            yield (
                f"{key} is {width}, no multiple of the {size} weights that share a scale with "
                f"{name}; use {_without_groups()}"
            )


def _without_groups() -> str:
    return " or ".join(name for name, scheme in SCHEMES.items() if scheme.group_size is None)
