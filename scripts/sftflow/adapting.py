"""How each method prepares a model: PEFT's config for it, or which weights it trains.

Formulas and defaults are PEFT's; the papers stand beside the options in config/schema.yaml.
"""

from __future__ import annotations

import copy
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sftflow.experts import EXPERTS, expert_faults
from sftflow.layerkinds import carries_state
from sftflow.methods import MUTATING
from sftflow.stage import StageError

LAYER = re.compile(r"\.(?:layers|h|blocks|block)\.(\d+)\.")  # a layer's number in a weight's name


def layer_of(name: str) -> int | None:
    """Return the number of the layer that a weight belongs to, None outside of the layers."""
    found = LAYER.search(f".{name}")
    return int(found.group(1)) if found else None


def layer_count(names: Iterable[str]) -> int:
    """Return how many layers the weights of these names make."""
    return 1 + max((n for n in map(layer_of, names) if n is not None), default=-1)


def linear_names(model: Any) -> list[str]:
    """Return the names of all linear layers but the output head; GPT-2's are Conv1D by name."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head
    ]


def checked_targets(
    key: str, targets: str | list[str], model: Any, base: str, more: Sequence[str] = ()
) -> str | list[str]:
    """Return ``targets``; raise StageError if one is no linear layer and none of ``more``."""
    names = [*linear_names(model), *more]
    for target in [] if targets == "all-linear" else targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in names}))
            raise StageError(
                f"{key}.target_modules: '{target}' matches nothing in {base}; it has {known}"
            )
    return targets if isinstance(targets, str) else list(targets)


def _named(base: str) -> dict[str, Any]:
    return {"task_type": "CAUSAL_LM", "base_model_name_or_path": base}


def lora_config(lora: Mapping[str, Any], model: Any, base: str):
    """Return PEFT's config.

    Raises StageError if a target matches no linear layer, or what is asked for can't be done to
    one of them.
    """
    from peft import LoraConfig

    init, experts = lora["init"], EXPERTS.get(model.config.model_type, ())
    config = LoraConfig(
        **_named(base),
        bias="none",
        **{key: lora[key] for key in ("r", "lora_alpha", "lora_dropout")},
        use_rslora=lora["use_rslora"],
        use_dora=lora["use_dora"],
        init_lora_weights=True if init == "default" else init,
        target_modules=checked_targets("lora", lora["target_modules"], model, base, experts),
    )
    _check_experts(config, lora, model, base)
    if init == "olora" and any(type(module).__name__ == "Conv1D" for module in model.modules()):
        raise StageError(
            f"lora.init: PEFT's olora takes no transposed layers (Conv1D), and {base} has them; "
            "use pissa"
        )
    return config


def _check_experts(config: Any, lora: Mapping[str, Any], model: Any, base: str) -> None:
    """Raise StageError for what PEFT has for linear layers and not for experts."""
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    converted = copy.deepcopy(config)
    with told_if_unfit("lora", base):
        convert_peft_config_for_transformers(converted, model, None)
    if converted.target_parameters:
        for fault in expert_faults(lora, base):
            raise StageError(fault)


def adalora_config(options: Mapping[str, Any], model: Any, base: str, steps: int):
    """Return AdaLoRA's config for a training of ``steps`` optimizer steps.

    Raises StageError if these leave no step in which ranks are taken away.
    """
    from peft import AdaLoraConfig

    first, last = (int(steps * options[key]) for key in ("warmup_share", "final_share"))
    if steps - last - first < 2:
        raise StageError(
            f"method adalora: of {steps} steps none is left to take ranks away in; train longer or "
            "lower adalora.warmup_share and adalora.final_share"
        )
    same = ("init_r", "target_r", "lora_alpha", "lora_dropout", "orth_reg_weight")
    return AdaLoraConfig(
        **_named(base),
        **{key: options[key] for key in same},
        total_step=steps,
        tinit=first,
        tfinal=last,
        deltaT=options["interval"],
        target_modules=checked_targets("adalora", options["target_modules"], model, base),
    )


def ia3_config(options: Mapping[str, Any], model: Any, base: str):
    """Return IA3's config; raise StageError for an architecture that PEFT has no targets for."""
    from peft import IA3Config
    from peft.utils.constants import (
        TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as FEEDFORWARD,
    )
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as TARGETS

    kind = model.config.model_type
    targets, feedforward = options["target_modules"], options["feedforward_modules"]
    if targets is None:
        if kind not in TARGETS:
            raise StageError(
                f"method ia3: PEFT knows no target modules for a model of type {kind}; name keys, "
                "values and the layer that the MLP ends with in ia3.target_modules, that layer in "
                "ia3.feedforward_modules too"
            )
        targets, feedforward = TARGETS[kind], FEEDFORWARD[kind]
    return IA3Config(
        **_named(base),
        target_modules=checked_targets("ia3", targets, model, base),
        feedforward_modules=list(feedforward or []),
    )


def prefix_config(options: Mapping[str, Any], model: Any, base: str):
    """Return prefix tuning's config: trained keys and values before those of each layer.

    Raises StageError for a model that has layers without keys.
    """
    from peft import PrefixTuningConfig

    if carries_state(model):
        raise StageError(
            f"method prefix: {base} has layers without keys and values to put others before; use "
            "prompt or lora"
        )
    return PrefixTuningConfig(
        **_named(base),
        num_virtual_tokens=options["num_virtual_tokens"],
        prefix_projection=options["encoder_hidden_size"] is not None,
        encoder_hidden_size=options["encoder_hidden_size"],
    )


def prompt_config(options: Mapping[str, Any], base: str, tokenizer: str):
    """Return prompt tuning's config: trained embeddings before those of the row."""
    from peft import PromptTuningConfig

    text = options["init_text"]
    return PromptTuningConfig(
        **_named(base),
        num_virtual_tokens=options["num_virtual_tokens"],
        prompt_tuning_init="SAMPLE_VOCAB" if text is None else "TEXT",
        prompt_tuning_init_text=text,
        tokenizer_name_or_path=None if text is None else tokenizer,
    )


def p_tuning_config(options: Mapping[str, Any], model: Any, base: str):
    """Return P-tuning's config: embeddings before those of the row, made by a small network."""
    from peft import PromptEncoderConfig

    width = options["encoder_hidden_size"] or model.config.get_text_config().hidden_size
    return PromptEncoderConfig(
        **_named(base),
        num_virtual_tokens=options["num_virtual_tokens"],
        encoder_hidden_size=width,
        encoder_reparameterization_type=options["encoder"].upper(),
    )


def train_biases(model: Any, base: str) -> None:
    """Leave only biases trainable (BitFit); raise StageError for a model without any."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(name.endswith(".bias"))
    if not any(weight.requires_grad for weight in model.parameters()):
        raise StageError(f"method bitfit trains biases, and {base} has none; use ia3 or lora")


def train_last_layers(model: Any, count: int, base: str) -> None:
    """Leave the last ``count`` layers and the norm after them trainable.

    Raises StageError if the model has fewer layers.
    """
    names = [name for name, _ in model.named_parameters()]
    layers = layer_count(names)
    if count > layers:
        raise StageError(f"last_n_layers.n: {count} is more than the {layers} layers of {base}")
    for name, weight in model.named_parameters():
        layer = layer_of(name)
        if layer is None:
            after = ("norm" in name or "ln_f" in name) and "embed" not in name
            weight.requires_grad_(after)
        else:
            weight.requires_grad_(layer >= layers - count)


def prepare(model: Any, spec: Mapping[str, Any], base: str, steps: int, tokenizer: str):
    """Return PEFT's config for a run's method; None if it trains weights of the model itself.

    ``tokenizer`` is a folder, for prompts that begin as a text. Of the model's own weights those
    are left trainable that the method trains. Raises StageError if it does not fit the model.
    """
    method = spec["method"]
    if method in ("lora", "qlora"):
        return lora_config(spec["lora"], model, base)
    if method == "adalora":
        return adalora_config(spec["adalora"], model, base, steps)
    if method == "ia3":
        return ia3_config(spec["ia3"], model, base)
    if method == "prefix":
        return prefix_config(spec["prefix"], model, base)
    if method == "prompt":
        return prompt_config(spec["prompt"], base, tokenizer)
    if method == "p_tuning":
        return p_tuning_config(spec["p_tuning"], model, base)
    if method == "bitfit":
        train_biases(model, base)
    elif method == "last_n_layers":
        train_last_layers(model, spec["last_n_layers"]["n"], base)
    elif method != "full":
        raise StageError(f"method {method!r} is not known")
    return None


@contextmanager
def told_if_unfit(method: str, base: str) -> Iterator[None]:
    """Raise StageError with PEFT's own words for what PEFT refuses in the block."""
    try:
        yield
    except ValueError as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        if "/peft/" not in last.filename:
            raise
        said = " ".join(str(error).split())
        raise StageError(f"method {method} does not fit {base}; PEFT says: {said}") from None


def moves_weights(spec: Mapping[str, Any]) -> bool:
    """Return whether the adapter begins with a part of the frozen weights (PiSSA, OLoRA)."""
    return spec["method"] == "lora" and spec["lora"]["init"] in MUTATING
