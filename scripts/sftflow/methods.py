"""The training methods by name: which options each has, what it leaves, whether it merges.

Light on purpose: the config's rules ask here too. How a model is prepared stands in adapting.py.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """One way of training a model."""

    options: str | None = None  # the key of a run that holds them
    plain: bool = False  # trains the model's own weights and leaves a whole model, no adapter
    merges: bool = True  # can be written into plain weights, which every server takes
    own_state: bool = False  # what PEFT saves of it is not enough to go on training
    in_layers: bool = True  # what it trains lies in the layers, so that they can differ in rate


METHODS = {
    "lora": Method("lora"),
    "qlora": Method("lora"),
    "adalora": Method("adalora", own_state=True),
    "ia3": Method("ia3"),
    "prefix": Method("prefix", merges=False, own_state=True, in_layers=False),
    "prompt": Method("prompt", merges=False, own_state=True, in_layers=False),
    "p_tuning": Method("p_tuning", merges=False, own_state=True, in_layers=False),
    "bitfit": Method(plain=True),
    "last_n_layers": Method("last_n_layers", plain=True),
    "full": Method(plain=True),
}

OPTIONS = tuple(dict.fromkeys(m.options for m in METHODS.values() if m.options))

# Initialisations of LoRA that move a part of the frozen weights into the adapter.
MUTATING = ("olora", "pissa", "pissa_niter_16")
