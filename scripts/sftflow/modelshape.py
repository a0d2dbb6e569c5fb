"""The sizes of a decoder, read from its config.json alone: no weights, no framework.

Only for families whose layers are known here to the last weight; of any other there is no shape,
rather than a wrong one. tests/unit/test_modelshape.py holds each against transformers' own class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: model_type -> what differs from Llama: norms of width hidden_size in a layer, norms of queries
#: and keys (each of ``head``, one weight per channel of a head, or ``all``, one per channel),
#: biases of queries, keys and values, whether input and output embeddings are one by default.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "granite": {},
    "smollm3": {"tied": True},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": "head"},
    "olmo2": {"qk_norm": "all"},
    "phi3": {"fused": True},
    "gemma": {"tied": True, "head_dim": 256},
    "gemma2": {"tied": True, "head_dim": 256, "norms": 4},
    "gemma3_text": {"tied": True, "head_dim": 256, "norms": 4, "qk_norm": "head"},
}
BIASED = ("llama", "granite", "qwen3", "olmo2", "smollm3", "gemma", "gemma2", "gemma3_text")


@dataclass(frozen=True)
class Shape:
    """A decoder: widths and counts, and the linear layers of one of its layers."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool  # the output head is the matrix of the embeddings
    linears: Mapping[str, tuple[int, int]]  # name -> inputs, outputs; of one layer
    layer_biases: int  # numbers, of one layer
    layer_norms: int  # numbers, of one layer

    @property
    def queries(self) -> int:
        """Return the width of the queries of all heads."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Return the width of the keys (and of the values) of all heads."""
        return self.kv_heads * self.head_dim

    @property
    def layer_weights(self) -> int:
        """Return the numbers in the linear layers of one layer, biases apart."""
        return sum(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def layer_parameters(self) -> int:
        """Return the numbers of one layer."""
        return self.layer_weights + self.layer_biases + self.layer_norms

    @property
    def embeddings(self) -> int:
        """Return the numbers in the embeddings, and in the output head where it is another."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Return the numbers of the whole model; the norm after the layers is one more."""
        return self.layers * self.layer_parameters + self.embeddings + self.hidden


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """Return the shape that a config.json describes; None for a family that is not known here."""
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        return None
    try:
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        sizes = {
            "hidden": hidden,
            "heads": heads,
            "layers": int(config["num_hidden_layers"]),
            "kv_heads": int(config.get("num_key_value_heads") or heads),
            "head_dim": int(config.get("head_dim") or family.get("head_dim") or hidden // heads),
            "intermediate": int(config["intermediate_size"]),
            "vocabulary": int(config["vocab_size"]),
        }
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if min(sizes.values()) < 1:
        return None
    tied = config.get("tie_word_embeddings")
    return _shape(config, family, sizes, bool(family.get("tied") if tied is None else tied))


def _shape(
    config: Mapping[str, Any], family: Mapping[str, Any], sizes: dict[str, int], tied: bool
) -> Shape:
    hidden, wide, head = sizes["hidden"], sizes["intermediate"], sizes["head_dim"]
    queries, keys = sizes["heads"] * head, sizes["kv_heads"] * head
    if family.get("fused"):
        linears = {
            "qkv_proj": (hidden, queries + 2 * keys),
            "o_proj": (queries, hidden),
            "gate_up_proj": (hidden, 2 * wide),
            "down_proj": (wide, hidden),
        }
    else:
        linears = {
            "q_proj": (hidden, queries),
            "k_proj": (hidden, keys),
            "v_proj": (hidden, keys),
            "o_proj": (queries, hidden),
            "gate_proj": (hidden, wide),
            "up_proj": (hidden, wide),
            "down_proj": (wide, hidden),
        }
    biases = queries + 2 * keys if family.get("qkv_bias") else 0
    if config["model_type"] in BIASED and config.get("attention_bias"):
        biases += queries + 2 * keys + hidden
    if config["model_type"] in BIASED and config.get("mlp_bias"):
        biases += 2 * wide + hidden
    norms = family.get("norms", 2) * hidden
    norms += {"head": 2 * head, "all": queries + keys}.get(family.get("qk_norm", ""), 0)
    return Shape(**sizes, tied=tied, linears=linears, layer_biases=biases, layer_norms=norms)


def made_config(make: Mapping[str, Any]) -> dict[str, Any]:
    """Return what config.json will say of a base that the workflow makes (prepare_base)."""
    return {**make, "model_type": "qwen2", "tie_word_embeddings": True}
