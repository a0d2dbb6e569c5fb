"""What experts add to the memory of a training: all are there, a token passes a few of them.

LoRA on stacked experts folds the adapter into a copy of their weights (peft 0.21, ParamWrapper),
which autograd keeps of each layer for the backward pass: a second set of all experts, unless layers
are recomputed (gradient_checkpointing). Bytes are those of transformers' grouped_mm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sftflow.methods import METHODS
from sftflow.modelshape import Shape

GATE = {"gate"}
GATE_UP = ({"gate_proj", "up_proj"}, {"w1", "w3"})
DOWN = {"down_proj", "w2"}
ALL = frozenset({"router", "gate_up", "down"})


def adapted_experts(run: Mapping[str, Any]) -> frozenset[str]:
    """Return which of router, gate_up and down have an adapter of LoRA; others adapt none."""
    if METHODS[run["method"]].options != "lora":
        return frozenset()
    targets = run["lora"]["target_modules"]
    if targets == "all-linear":
        return ALL
    names = {target.rsplit(".", 1)[-1] for target in targets}
    found = {"router"} if names & GATE else set()
    found |= {"gate_up"} if any(pair <= names for pair in GATE_UP) else set()
    return frozenset(found | ({"down"} if names & DOWN else set()))


def expert_adapters(shape: Shape, run: Mapping[str, Any]) -> int:
    """Return the numbers of the adapters of one layer's experts and router."""
    experts, adapted = shape.experts, adapted_experts(run)
    if experts is None or not adapted:
        return 0
    rank = run["lora"]["r"]
    sizes = {
        "router": rank * (experts.hidden + experts.count),
        # gate and up are one parameter, so PEFT doubles its rank
        "gate_up": experts.count * 2 * rank * (experts.hidden + 2 * experts.width),
        "down": experts.count * rank * (experts.width + experts.hidden),
    }
    return sum(sizes[name] for name in adapted)


def expert_activations(shape: Shape, run: Mapping[str, Any], size: int) -> float:
    """Return the bytes that autograd keeps for one token, beside what a gated MLP has anyway.

    Of each chosen expert its answer, which the router weighs; the router's probabilities; and in
    which order tokens went through experts. Where their weights are trained, what came in.
    """
    experts, adapted = shape.experts, adapted_experts(run)
    if experts is None:
        return 0
    kept = experts.chosen * (experts.hidden * size + 40) + 4 * experts.count
    if run["method"] in ("full", "last_n_layers") or "gate_up" in adapted:
        kept += experts.chosen * experts.hidden * size
    kept += experts.hidden * size if "router" in adapted else 0
    return kept + (shape.intermediate * size if "down" in adapted else 0)


def expert_copies(shape: Shape, run: Mapping[str, Any], size: int, layers: int) -> int:
    """Return the bytes of experts with their adapter in them, of ``layers``, and a gradient."""
    experts, adapted = shape.experts, adapted_experts(run)
    if experts is None or not adapted:
        return 0
    sizes = {name: getattr(experts, name) for name in adapted}
    return size * (layers * sum(sizes.values()) + max(sizes.values()))
