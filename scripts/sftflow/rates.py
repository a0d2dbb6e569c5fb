"""Optimizers in which not every weight learns at the same rate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from sftflow.adapting import layer_count, layer_of

EMBEDDINGS = ("embed", "wte", "wpe")  # in the names of weights below the first layer


def depths(names: Iterable[str]) -> dict[str, int]:
    """Return name -> depth: 0 for embeddings, then the layers, last what comes after them."""
    known = list(names)
    last = layer_count(known) + 1
    found = {}
    for name in known:
        layer = layer_of(name)
        below = any(part in name for part in EMBEDDINGS)
        found[name] = layer + 1 if layer is not None else 0 if below else last
    return found


def layered_groups(
    names: Iterable[str],
    trained: Mapping[str, Any],
    decayed: Collection[str],
    rate: float,
    decay: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Return parameter groups: rate * decay ** (depths below the top), the top one first.

    ``names`` are those of all weights, ``trained`` name -> parameter of those that learn,
    ``decayed`` the names to which ``weight_decay`` applies. Discriminative fine-tuning of ULMFiT
    (arXiv:1801.06146, section 3.2), which divides by 2.6 from layer to layer.
    """
    depth = depths(names)
    top = max(depth[name] for name in trained)
    groups: dict[tuple[int, bool], list] = {}
    for name, parameter in trained.items():
        groups.setdefault((depth[name], name in decayed), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate * decay ** (top - at),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (at, decays), parameters in sorted(groups.items(), key=lambda g: (-g[0][0], -g[0][1]))
    ]


def layered_optimizer(trainer: Any, decay: float):
    """Return the trainer's optimizer with a rate per layer."""
    kind, options = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
    parameters = dict(trainer.model.named_parameters())
    groups = layered_groups(
        parameters,
        {name: p for name, p in parameters.items() if p.requires_grad},
        set(trainer.get_decay_parameter_names(trainer.model)),
        trainer.args.learning_rate,
        decay,
        trainer.args.weight_decay,
    )
    return kind(groups, **options)


def lora_plus_optimizer(trainer: Any, ratio: float):
    """Return the trainer's optimizer with B learning ``ratio`` times as fast as A."""
    from peft.optimizers import create_loraplus_optimizer

    kind, options = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
    return create_loraplus_optimizer(
        trainer.model,
        kind,
        lr=options.pop("lr"),
        loraplus_lr_ratio=ratio,
        loraplus_weight_decay=trainer.args.weight_decay,
        **options,
    )


def own_optimizer(spec: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    """Return what makes a run's optimizer of its trainer, None for the trainer's own."""
    decay = spec["training"]["layerwise_lr_decay"]
    ratio = spec.get("lora", {}).get("lr_ratio")
    if decay is not None:
        return partial(layered_optimizer, decay=decay)
    return None if ratio is None else partial(lora_plus_optimizer, ratio=ratio)
