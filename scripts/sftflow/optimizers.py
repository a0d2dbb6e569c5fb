"""The optimizers that a run may ask for, by transformers' names, and what each keeps of a weight.

Light on purpose: the config's rules, the memory estimate and dry runs ask here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Optimizer:
    """One way of turning gradients into steps."""

    moments: int = 2  # numbers kept of each trained weight
    bits: int = 32  # of such a number
    factored: bool = False  # of a matrix its rows and columns are kept, not its numbers
    paged: bool = False  # what is kept may lie in the machine's memory when the GPU is short
    bitsandbytes: bool = False  # whose kernels need a CUDA GPU
    sharded: bool = False  # works on a part of the weights (fsdp, deepspeed)


OPTIMIZERS = {
    "adamw_torch_fused": Optimizer(sharded=True),
    "adamw_torch": Optimizer(sharded=True),
    "adafactor": Optimizer(factored=True),
    "adamw_8bit": Optimizer(bits=8, bitsandbytes=True),
    "paged_adamw_32bit": Optimizer(paged=True, bitsandbytes=True),
    "paged_adamw_8bit": Optimizer(bits=8, paged=True, bitsandbytes=True),
    "lion_32bit": Optimizer(moments=1, bitsandbytes=True),
    "lion_8bit": Optimizer(moments=1, bits=8, bitsandbytes=True),
    "paged_lion_32bit": Optimizer(moments=1, paged=True, bitsandbytes=True),
    "paged_lion_8bit": Optimizer(moments=1, bits=8, paged=True, bitsandbytes=True),
}
#: What a spec leaves out (plan.shaping_settings), and what TRL's settings have without a word.
DEFAULT = "adamw_torch_fused"


def bitsandbytes_asked(method: str, training: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what of a run needs bitsandbytes, and what to use without it; None if nothing does.

    ``training`` may be that of a spec, which says nothing of AdamW.
    """
    if method == "qlora":
        return "method: qlora", "lora"
    optim = training.get("optim", DEFAULT)
    if OPTIMIZERS[optim].bitsandbytes:
        return f"training.optim: {optim}", DEFAULT if "adamw" in optim else "adafactor"
    return None
