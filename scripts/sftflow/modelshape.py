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
#: biases of queries, keys and values, whether input and output embeddings are one by default; of a
#: mixture the key that says how wide an expert is.
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
    "mixtral": {"experts": "intermediate_size"},
    "olmoe": {"qk_norm": "all", "experts": "intermediate_size"},
    "qwen3_moe": {"qk_norm": "head", "experts": "moe_intermediate_size"},
}
BIASED = ("llama", "granite", "qwen3", "olmo2", "smollm3", "gemma", "gemma2", "gemma3_text")
BIASED += ("olmoe", "qwen3_moe")


@dataclass(frozen=True)
class Experts:
    """The experts of a layer, each a gated MLP, and how many of them a token passes."""

    count: int
    chosen: int
    width: int  # of one
    hidden: int

    @property
    def gate_up(self) -> int:
        """Return the numbers of the parameter that holds all their gates and ups."""
        return self.count * self.hidden * 2 * self.width

    @property
    def down(self) -> int:
        """Return the numbers of the parameter that holds all their downs."""
        return self.count * self.width * self.hidden

    @property
    def router(self) -> int:
        """Return the numbers of what chooses among them."""
        return self.count * self.hidden


@dataclass(frozen=True)
class Shape:
    """A decoder: widths and counts, and the linear layers of one of its layers."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int  # width of the MLP; of a mixture that of all experts that a token passes
    vocabulary: int
    tied: bool  # the output head is the matrix of the embeddings
    linears: Mapping[str, tuple[int, int]]  # name -> inputs, outputs; of one layer
    layer_biases: int  # numbers, of one layer
    norms: int  # of width hidden, in one layer
    qk_norm: str  # queries and keys are normed by head, all at once, or not: ""
    experts: Experts | None = None

    @property
    def queries(self) -> int:
        """Return the width of the queries of all heads."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Return the width of the keys (and of the values) of all heads."""
        return self.kv_heads * self.head_dim

    @property
    def layer_norms(self) -> int:
        """Return the numbers in the norms of one layer."""
        each = {"head": 2 * self.head_dim, "all": self.queries + self.keys}
        return self.norms * self.hidden + each.get(self.qk_norm, 0)

    @property
    def layer_weights(self) -> int:
        """Return the numbers in the linear layers of one layer, biases apart; experts are none."""
        return sum(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def layer_parameters(self) -> int:
        """Return the numbers of one layer."""
        experts = self.experts
        stacked = experts.gate_up + experts.down + experts.router if experts else 0
        return self.layer_weights + stacked + self.layer_biases + self.layer_norms

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
        experts = _experts(config, family["experts"]) if "experts" in family else None
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if min(sizes.values()) < 1:
        return None
    if experts:
        sizes["intermediate"] = experts.chosen * experts.width
    tied = config.get("tie_word_embeddings")
    return Shape(
        **sizes,
        tied=bool(family.get("tied") if tied is None else tied),
        linears=_linears(family, sizes),
        layer_biases=_biases(config, family, sizes),
        norms=family.get("norms", 2),
        qk_norm=family.get("qk_norm", ""),
        experts=experts,
    )


def _experts(config: Mapping[str, Any], width: str) -> Experts:
    """Return the experts of every layer; raise ValueError if some layers have none."""
    if config.get("decoder_sparse_step") not in (None, 1) or config.get("mlp_only_layers"):
        raise ValueError("layers differ")
    count = config.get("num_experts") or config.get("num_local_experts")
    sizes = (count, config["num_experts_per_tok"], config[width], config["hidden_size"])
    if min(map(int, sizes)) < 1:
        raise ValueError("no experts")
    return Experts(*map(int, sizes))


def _linears(family: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    hidden, wide, head = sizes["hidden"], sizes["intermediate"], sizes["head_dim"]
    queries, keys = sizes["heads"] * head, sizes["kv_heads"] * head
    if family.get("fused"):
        return {
            "qkv_proj": (hidden, queries + 2 * keys),
            "o_proj": (queries, hidden),
            "gate_up_proj": (hidden, 2 * wide),
            "down_proj": (wide, hidden),
        }
    attention = {
        "q_proj": (hidden, queries),
        "k_proj": (hidden, keys),
        "v_proj": (hidden, keys),
        "o_proj": (queries, hidden),
    }
    if "experts" in family:
        return attention
    mlp = {"gate_proj": (hidden, wide), "up_proj": (hidden, wide), "down_proj": (wide, hidden)}
    return attention | mlp


def _biases(config: Mapping[str, Any], family: Mapping[str, Any], sizes: Mapping[str, int]) -> int:
    hidden, head = sizes["hidden"], sizes["head_dim"]
    queries, keys = sizes["heads"] * head, sizes["kv_heads"] * head
    biases = queries + 2 * keys if family.get("qkv_bias") else 0
    if config["model_type"] in BIASED and config.get("attention_bias"):
        biases += queries + 2 * keys + hidden
    if config["model_type"] in BIASED and config.get("mlp_bias"):
        biases += 2 * sizes["intermediate"] + hidden
    return biases


def made_config(make: Mapping[str, Any]) -> dict[str, Any]:
    """Return what config.json will say of a base that the workflow makes (prepare_base)."""
    return {**make, "model_type": "qwen2", "tie_word_embeddings": True}
