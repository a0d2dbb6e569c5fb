"""What the layers of a base are made of, as far as a method must know it."""

from __future__ import annotations

from typing import Any

# Layers of transformers whose tokens see each other by attention only.
ATTENDING = frozenset({"full_attention", "sliding_attention", "chunked_attention"})


def carries_state(model: Any) -> bool:
    """Say whether text reaches later tokens by other means than attention (Mamba, LFM2).

    Attention within rows keeps that from no row, and such layers have no keys to put others before.
    """
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
    return getattr(model, "_is_stateful", False) or not ATTENDING.issuperset(kinds)
