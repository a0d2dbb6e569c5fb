"""Bases whose experts are stacked parameters, and what LoRA can't be there.

transformers stacks the experts of a layer in one parameter each; PEFT adapts that where a target
names what it was made of, as all-linear does, and knows no dropout, DoRA or other beginning for it.
Light on purpose: the config's rules ask here too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MIXTRAL = ("gate", "w1", "w2", "w3")
_QWEN = ("gate", "gate_proj", "up_proj", "down_proj")
#: model_type -> the targets that PEFT (0.21) takes for its experts and their router.
EXPERTS: dict[str, Sequence[str]] = {
    **dict.fromkeys(("minimax", "minimax_m2", "mixtral"), _MIXTRAL),
    **dict.fromkeys(
        (
            *("afmoe", "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1"),
            *("ernie4_5_moe", "exaone_moe", "flex_olmo", "glm4_moe", "glm4_moe_lite"),
            *("glm4v_moe", "glm_moe_dsa", "hunyuan_v1_moe", "longcat_flash", "mellum", "olmoe"),
            *("qwen3_moe", "qwen3_next", "qwen3_omni_moe", "qwen3_omni_moe_thinker", "solar_open"),
        ),
        _QWEN,
    ),
}
ONLY = (("lora_dropout", 0), ("use_dora", False), ("init", "default"))


def names_experts(model_type: str, targets: str | Sequence[str]) -> bool:
    """Return whether a run's ``target_modules`` name the experts of a base of this type."""
    names = EXPERTS.get(model_type, ())
    if targets == "all-linear":
        return bool(names)
    return any(
        target == name or target.endswith(f".{name}") for target in targets for name in names
    )


def expert_faults(lora: Mapping[str, Any], base: str) -> Iterator[str]:
    """Yield what of a run's ``lora`` its experts don't take; its targets name experts."""
    for key, plain in ONLY:
        if lora[key] != plain:
            said = str(plain).lower()
            yield (
                f"lora.{key}: the experts of {base} are stacked parameters, for which PEFT has "
                f"none but {said}; set {key}: {said}, or name only the layers of the attention "
                "in lora.target_modules"
            )
