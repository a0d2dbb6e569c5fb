"""Quantise the linear layers of a model by compressed-tensors, in the format that vLLM reads.

No data is needed: each weight is rounded to the nearest step of the range of its channel or group
(round to nearest), and activations, where a scheme has them in 8 bits, are scaled token by token
while the model runs. So does llm-compressor's QuantizationModifier with these presets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftflow.schemes import SCHEMES
from sftflow.stage import StageError

# What is broken and not merely coarser: nats per token by which the next token is told worse (mean
# Kullback-Leibler divergence), and the share of positions with the same choice. On the embedded
# default's model: w8a16 0.0001 and 99.7 %, w8a8 0.0008 and 98.8 %, fp8_dynamic 0.005 and 97.3 %,
# w4a16 0.03 and 92.2 %. What lies between is for the measurements and the gates to judge.
MOST_KL = 0.5
LEAST_AGREEMENT = 0.5


def quantize(model: Any, scheme: str) -> list[str]:
    """Round the linear layers of ``model`` in place, all but the output layer; return their names.

    Raises StageError for a layer that the scheme's groups don't fit, or a model without any.
    """
    from compressed_tensors.quantization import (
        QuantizationConfig,
        apply_quantization_config,
        preset_name_to_scheme,
    )

    head = model.get_output_embeddings()
    kept = [name for name, module in model.named_modules() if module is head]
    groups = {"group_0": preset_name_to_scheme(SCHEMES[scheme].preset, ["Linear"])}
    apply_quantization_config(model, QuantizationConfig(config_groups=groups, ignore=kept))
    layers = {
        name: module
        for name, module in model.named_modules()
        if getattr(module, "quantization_scheme", None) is not None
    }
    if not layers:
        raise StageError(f"{type(model).__name__} has no linear layers that could be quantised")
    for name, layer in layers.items():
        round_layer(name, layer)
    return list(layers)


def round_layer(name: str, layer: Any) -> None:
    """Give a layer the scales that its weights' least and largest values ask for.

    ``weight`` is (outputs, inputs); ``weight_scale`` (outputs, 1), or (outputs, inputs / group).
    """
    from compressed_tensors.quantization.utils import calculate_qparams

    args, weight = layer.quantization_scheme.weights, layer.weight.detach()
    size = args.group_size or weight.shape[-1]
    if weight.shape[-1] % size:
        raise StageError(
            f"{name} has {weight.shape[-1]} inputs, which groups of {size} don't fit; use a scheme "
            "without groups"
        )
    ranges = weight.unflatten(-1, (-1, size))  # (outputs, groups, inputs of a group)
    scale, zero_point = calculate_qparams(ranges.amin(-1), ranges.amax(-1), args)
    layer.weight_scale.data.copy_(scale)
    layer.weight_zero_point.data.copy_(zero_point)


def save_quantized(model: Any, folder: Path, shard: str) -> None:
    """Write a model that ``quantize`` has rounded as safetensors, its scheme in config.json."""
    from compressed_tensors.compressors import ModelCompressor

    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(folder, max_shard_size=shard)
    compressor.update_config(folder)


def quantization_fault(proof: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a quantised model, None if it may be used.

    ``proof`` is the comparison of the merged model with it (merging.compare).
    """
    kl, difference = proof["mean_kl"], proof["max_logit_difference"]
    if kl is None:
        return "there is no row to compare the quantised model on"
    if not (math.isfinite(kl) and math.isfinite(difference)):
        return "the quantised model's logits are no finite numbers"
    if kl > MOST_KL or proof["greedy_agreement"] < LEAST_AGREEMENT:
        return (
            "the quantised model is far from the merged one: it tells the next token worse by "
            f"{kl:.3g} nats (at most {MOST_KL} is allowed), and chooses the same one at "
            f"{proof['greedy_agreement']:.1%} of {proof['positions']} positions (at least "
            f"{LEAST_AGREEMENT:.0%})"
        )
    return None
