"""How much memory a training takes at its peak, from the config alone: arithmetic, no framework.

Weights, gradients and what the optimizer keeps are counted (Rajbhandari et al. 2020, ZeRO,
arXiv:1910.02054, section 3.1). Activations are the tensors that autograd keeps of each operation
of a layer, in the way of Korthikanti et al. 2022 (arXiv:2205.05198, section 4), but for RMSNorm,
grouped queries, a gated MLP and PyTorch's attention, which keeps no scores of length x length.
The output head is scored in tiles here (TRL), so logits of batch x length x vocabulary never exist.

bench/memory.py holds this against measured peaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sftflow.expertmemory import expert_activations, expert_adapters, expert_copies
from sftflow.methods import METHODS
from sftflow.modelshape import Shape
from sftflow.optimizermemory import moment_bytes

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# NF4 in blocks of 64 with constants quantised again: 4.127 bits (QLoRA, arXiv:2305.14314, sect. 3)
NF4_BYTES = 4.127 / 8
TILE_TOKENS, TILE_VOCABULARY = 4096, 32768  # trl.kernels.chunked_logprob
# Tiles in float32 that live at once in the head's backward: without Triton each step of the
# softmax is an operation of its own (trl 1.16, _backward_tile); with Triton it is done in place.
TILES = {"cpu": 8.25, "cuda": 1}
# On a CPU glibc keeps freed blocks of up to 32 MiB, and what does not fit into their holes comes on
# top: what some five layers hold, measured by bench/memory.py. With MALLOC_MMAP_THRESHOLD_=65536
# in the environment, which gives each block back and costs time, there are none.
HOLES = 5  # layers
SHARDED = {"fsdp": "wgo", "deepspeed3": "wgo", "deepspeed2": "go"}  # which parts are shared out


@dataclass(frozen=True)
class Estimate:
    """Bytes on one device at the peak of a training, by what holds them."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    head: int  # of the loss: a tile of logits, its copies, and the gradient of the head
    other: int  # EWC's Fisher information, the sum of averaged weights
    rows: int
    length: int  # tokens of the longest row
    accumulated: bool  # gradients of an earlier batch lie there from the beginning

    @property
    def least(self) -> int:
        """Return what the training takes whatever its batches are: a lower bound."""
        return self.weights + self.gradients + self.optimizer

    @property
    def peak(self) -> int:
        """Return the most that is in use at a time.

        Within one batch gradients come as activations go: not both are whole at a time.
        """
        moving = self.activations + self.head
        both = moving + self.gradients if self.accumulated else max(moving, self.gradients)
        return self.weights + self.optimizer + self.other + both

    def told(self) -> dict[str, int]:
        """Return the parts, their sum and the lower bound, as a manifest has them."""
        return {**asdict(self), "least": self.least, "peak": self.peak}


def trained_parameters(shape: Shape, run: Mapping[str, Any]) -> int:
    """Return how many numbers a run trains."""
    method = run["method"]
    if method == "full":
        return shape.parameters
    if method == "last_n_layers":
        layers = min(run["last_n_layers"]["n"], shape.layers)
        return layers * shape.layer_parameters + shape.hidden
    if method == "bitfit":
        return shape.layers * shape.layer_biases
    if method in ("prefix", "prompt", "p_tuning"):
        return _vectors(shape, run)
    inside = sum(_adapter(run, name, *shape.linears[name]) for name in adapted(shape, run))
    return shape.layers * (inside + expert_adapters(shape, run))


def _vectors(shape: Shape, run: Mapping[str, Any]) -> int:
    """Return the numbers of vectors before the row, and of the network that makes them."""
    options = run[run["method"]]
    count, between = options["num_virtual_tokens"], options.get("encoder_hidden_size")
    if run["method"] == "prefix":
        out = shape.layers * 2 * shape.keys
        network = 0 if between is None else (shape.keys + 1) * between + (between + 1) * out
        return count * (out if between is None else shape.keys) + network
    if run["method"] == "prompt":
        return count * shape.hidden
    wide = between or shape.hidden
    if options["encoder"] == "lstm":  # two layers in both directions, then two linear ones
        inner = 8 * wide * (shape.hidden + 4 * wide + 4) + (2 * wide + 1) * 2 * wide
        return count * shape.hidden + inner + (2 * wide + 1) * shape.hidden
    inner = (shape.hidden + 1) * wide + (wide + 1) * wide
    return count * shape.hidden + inner + (wide + 1) * shape.hidden


def _adapter(run: Mapping[str, Any], name: str, inputs: int, outputs: int) -> int:
    """Return the numbers of the adapter of one linear layer."""
    options = run[METHODS[run["method"]].options]
    if run["method"] == "ia3":
        return inputs if name == "down_proj" else outputs
    if run["method"] == "adalora":
        return options["init_r"] * (inputs + outputs + 1)
    return options["r"] * (inputs + outputs) + (outputs if options["use_dora"] else 0)


def adapted(shape: Shape, run: Mapping[str, Any]) -> list[str]:
    """Return the names of a layer's linear layers that have an adapter."""
    if run["method"] not in ("lora", "qlora", "adalora", "ia3"):
        return []
    wanted = run[METHODS[run["method"]].options]["target_modules"]
    if wanted is None:  # PEFT's for IA3; in some families k_proj instead of q_proj, not wider
        wanted = ["q_proj", "v_proj", "down_proj"]
    names = list(shape.linears)
    if wanted == "all-linear":
        return names
    return [n for n in names if any(w == n or w.endswith(f".{n}") for w in wanted)]


def weight_bytes(shape: Shape, run: Mapping[str, Any], dtype: str) -> int:
    """Return the bytes of all weights, the trained ones included.

    Weights of the model itself that are trained are float32, and beside them lies what autocast
    computes with in 16 bits, and with dpo the model that they began as; frozen ones are of
    ``dtype``, adapters float32.
    """
    trained, size = trained_parameters(shape, run), BYTES[dtype]
    if METHODS[run["method"]].plain:
        cast = trained if run["method"] != "bitfit" else 0
        models = 2 if run.get("dpo") else 1  # the reference is a second one
        return 4 * models * shape.parameters + (2 * cast if size == 2 else 0)
    inside = shape.layers * shape.layer_weights
    if run["method"] == "qlora":
        return int(NF4_BYTES * inside + size * (shape.parameters - inside)) + 4 * trained
    return size * shape.parameters + 4 * trained


def layer_activations(
    shape: Shape, run: Mapping[str, Any], dtype: str, device: str, padded_to: int | None
) -> float:
    """Return the bytes that autograd keeps of one layer for one token.

    With rows that are ``padded_to`` a length attention keeps its mask, and keys and values once for
    each query head; without padding it needs no mask, and keeps those of the groups.
    """
    size, plain = BYTES[dtype], METHODS[run["method"]].plain
    trains_norms = run["method"] in ("full", "last_n_layers")
    normed = shape.norms * shape.hidden + (shape.queries + shape.keys if shape.qk_norm else 0)
    kept = normed * 4  # what RMSNorm squares, in float32 whatever the model is
    if trains_norms:
        kept += normed * (4 if plain else size)
    kept += 2 * (shape.queries + (shape.queries if padded_to else shape.keys)) * size
    kept += (padded_to or 0) * size
    sums = {"head": shape.heads + shape.kv_heads, "all": 2}.get(shape.qk_norm, 0) + shape.norms
    kept += 4 * (shape.heads + sums)  # of softmax and of squares
    kept += 3 * shape.intermediate * size  # gate, its activation, up
    kept += expert_activations(shape, run, size)
    return kept + _inputs(shape, run, size, device)


def _inputs(shape: Shape, run: Mapping[str, Any], size: int, device: str) -> float:
    """Return the bytes of inputs of linear layers that their trained weights need, of one token."""
    options = run.get(METHODS[run["method"]].options or "", {})
    dropout = options.get("lora_dropout", 0)
    if run["method"] in ("full", "last_n_layers"):
        return (2 * shape.hidden + shape.intermediate) * size  # attention's output is kept anyway
    if options.get("use_dora"):
        # dropout's mask and result as below, and of each layer what its magnitude scales
        return sum(
            (inputs * (3 if dropout else 2) + 2 * outputs) * size
            for inputs, outputs in map(shape.linears.get, adapted(shape, run))
        )
    kept, seen = 0.0, set()
    for name in adapted(shape, run):
        inputs, outputs = shape.linears[name]
        rank = options.get("r", options.get("init_r", 0))
        kept += rank * size
        if run["method"] == "ia3":
            kept += (inputs if name == "down_proj" else outputs) * size
        elif dropout:  # each adapter draws its own mask: as numbers on a CPU, as bytes on a GPU
            kept += inputs * (2 * size if device == "cpu" else size + 1)
        else:
            source = {"o_proj": "attention", "down_proj": "mlp"}.get(name, name[0] in "gu")
            if source not in seen and source != "attention":
                kept += inputs * size
            seen.add(source)
    return kept


def activations(
    shape: Shape,
    run: Mapping[str, Any],
    dtype: str,
    device: str,
    rows: int,
    length: int,
    padded: bool,
) -> int:
    """Return the bytes of activations of a batch of ``rows`` x ``length`` tokens at the peak."""
    ahead = run.get(run["method"], {}).get("num_virtual_tokens", 0)
    tokens, layers = rows * (length + ahead), shape.layers
    one = layer_activations(shape, run, dtype, device, length if padded else None)
    if run["method"] == "last_n_layers":
        layers = min(run["last_n_layers"]["n"], layers)
    ends = shape.hidden * (4 + BYTES[dtype] + 4)  # norm after the layers, what the head scores
    whole = HOLES if device == "cpu" else 0
    checkpoints = run["training"]["gradient_checkpointing"]
    copies = expert_copies(shape, run, BYTES[dtype], 1 if checkpoints else layers)
    if run.get("dpo"):  # the reference's forward, while the policy's activations are there
        ends += (2 * shape.hidden + 3 * shape.intermediate) * BYTES[dtype]
    if checkpoints:
        kept = layers * shape.hidden * BYTES[dtype] + (1 + whole) * one + ends
    else:
        kept = (layers + whole) * one + ends
    return int(tokens * kept) + copies


def head_bytes(shape: Shape, run: Mapping[str, Any], dtype: str, device: str, scored: int) -> int:
    """Return the bytes of the loss and its gradient, for ``scored`` positions with loss."""
    size = 4 if device == "cpu" else BYTES[dtype]
    tile = min(scored, TILE_TOKENS) * min(shape.vocabulary, TILE_VOCABULARY) * size
    gradient = 4 * shape.vocabulary * shape.hidden if run["method"] == "full" else 0
    return int(TILES[device] * tile) + gradient


def _of_pairs(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run on pairs as what it computes: both answers of each, without dropout."""
    training = run["training"]
    rows = 2 * training["per_device_train_batch_size"]
    options = METHODS[run["method"]].options
    plain = {options: {**run[options], "lora_dropout": 0}} if options in ("lora", "adalora") else {}
    return {**run, **plain, "training": {**training, "per_device_train_batch_size": rows}}


def estimated(
    shape: Shape,
    run: Mapping[str, Any],
    dtype: str,
    device: str,
    rows: int | None = None,
    length: int | None = None,
    scored: int | None = None,
    padded: bool | None = None,
) -> Estimate:
    """Return the estimate for a run: its dtype float32, bfloat16 or float16, device cpu or cuda.

    Without the longest batch itself (``rows`` of ``length`` tokens, ``scored`` of them with loss)
    it is for a full batch of rows of max_length that carry loss everywhere: nothing can be more.
    ``padded`` is whether its rows are of several lengths, None as the batches of the run may be.
    """
    run = _of_pairs(run) if run.get("dpo") else run
    training, launch = run["training"], run["launch"]
    rows = training["per_device_train_batch_size"] if rows is None else rows
    length = run["max_length"] if length is None else length
    scored = rows * length if scored is None else scored
    if padded is None:
        padded = rows > 1 and training["batching"] != "packed"
    trained = trained_parameters(shape, run)
    shared = SHARDED.get(launch["strategy"], "") if launch["num_processes"] > 1 else ""
    part = {letter: launch["num_processes"] if letter in shared else 1 for letter in "wgo"}
    other = 4 * trained if training["average_checkpoints"] else 0
    if training["ewc"]:
        adapter = not METHODS[run["method"]].plain
        adapted_weights = sum(a * b for a, b in (shape.linears[n] for n in adapted(shape, run)))
        other += 4 * (shape.layers * adapted_weights if adapter else 2 * trained)
    return Estimate(
        weights=weight_bytes(shape, run, dtype) // part["w"],
        gradients=4 * trained // part["g"],
        optimizer=moment_bytes(shape, run, trained) // part["o"],
        activations=activations(shape, run, dtype, device, rows, length, padded),
        head=head_bytes(shape, run, dtype, device, scored),
        other=other,
        rows=rows,
        length=length,
        accumulated=training["gradient_accumulation_steps"] > 1,
    )
