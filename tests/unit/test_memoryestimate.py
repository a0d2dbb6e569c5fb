"""The arithmetic of the memory estimate; bench/memory.py holds it against measured peaks."""

import pytest

from sftflow.config import fill_defaults, schema
from sftflow.memoryestimate import (
    estimated,
    layer_activations,
    trained_parameters,
    weight_bytes,
)
from sftflow.methods import METHODS, OPTIONS
from sftflow.modelshape import shape_of

CONFIG = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "tie_word_embeddings": True,
}
SHAPE = shape_of(CONFIG)
# A layer: 4 x (32 x 32 or 32 x 16) = 3072, 3 x 32 x 64 = 6144, biases 32 + 2 x 16, norms 2 x 32.
LAYER = 3072 + 6144 + 64 + 64
PARAMETERS = 2 * LAYER + 100 * 32 + 32


def run(method="lora", training=None, **more):
    """Return a run with every default, as a config gives it."""
    node = {"properties": schema()["$defs"]["run"]["properties"]}
    filled = fill_defaults({"method": method, "training": training or {}, **more}, node)
    return {k: v for k, v in filled.items() if k not in OPTIONS or k == METHODS[method].options}


TRAINED = {
    "full": {},
    "bitfit": {},
    "last_n_layers": {"last_n_layers": {"n": 1}},
    "lora": {"lora": {"r": 3, "target_modules": ["q_proj", "down_proj"]}},
    "dora": {"method": "lora", "lora": {"r": 2, "use_dora": True}},
    "adalora": {"adalora": {"init_r": 3, "target_r": 2}},
    "ia3": {},
    "prefix": {"prefix": {"num_virtual_tokens": 5}},
    "projected prefix": {
        "method": "prefix",
        "prefix": {"num_virtual_tokens": 5, "encoder_hidden_size": 7},
    },
    "prompt": {"prompt": {"num_virtual_tokens": 5}},
    "p_tuning": {"p_tuning": {"num_virtual_tokens": 5}},
    "p_tuning, lstm": {
        "method": "p_tuning",
        "p_tuning": {"num_virtual_tokens": 5, "encoder": "lstm", "encoder_hidden_size": 6},
    },
}


@pytest.mark.parametrize("name", TRAINED)
def test_trained_numbers_are_those_of_the_method_itself(name):
    from peft import get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from sftflow.adapting import prepare

    options = dict(TRAINED[name])
    one = run(options.pop("method", name), **options)
    sizes = {k: v for k, v in CONFIG.items() if k != "model_type"}
    model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    adapter = prepare(model, one, "small", 100, "")
    model = model if adapter is None else get_peft_model(model, adapter)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained_parameters(SHAPE, one) == trained


def kept_of_a_layer(one, padded):
    """Return the bytes that autograd really keeps of a layer for a token: of 3 layers less 2."""
    import torch
    from peft import get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from sftflow.adapting import prepare

    totals = []
    ids = torch.ones(4, 16, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[0, 9:] = 0 if padded else 1
    for layers in (2, 3):
        sizes = {k: v for k, v in CONFIG.items() if k != "model_type"}
        model = Qwen2ForCausalLM(Qwen2Config(**{**sizes, "num_hidden_layers": layers}))
        adapter = prepare(model, one, "small", 100, "")
        (model if adapter is None else get_peft_model(model, adapter)).train()
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        kept = {}

        def keep(tensor, kept=kept):
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.model(input_ids=ids, attention_mask=mask, use_cache=False)
        sizes = (t.untyped_storage().nbytes() for at, t in kept.items() if at not in weights)
        totals.append(sum(sizes))
    return (totals[1] - totals[0]) / ids.numel()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("method", "more"),
    [("full", {}), ("bitfit", {}), ("lora", {}), ("lora", {"lora": {"lora_dropout": 0}})],
)
def test_activations_of_a_layer_are_what_autograd_keeps(method, more, padded):
    one = run(method, **more)
    counted = layer_activations(SHAPE, one, "float32", "cpu", 16 if padded else None)
    assert counted == kept_of_a_layer(one, padded)


def test_full_training_in_float32_has_sixteen_bytes_a_parameter():
    found = estimated(SHAPE, run("full"), "float32", "cpu")
    assert found.least == 16 * PARAMETERS  # ZeRO, section 3.1, with float32 throughout
    assert found.weights == found.gradients == 4 * PARAMETERS


def test_frozen_weights_have_the_precision_of_the_run_and_adapters_float32():
    one = run(lora={"r": 2, "target_modules": ["q_proj"]})
    trained = 2 * 2 * (32 + 32)  # layers x r x (in + out)
    found = estimated(SHAPE, one, "bfloat16", "cuda")
    assert found.weights == 2 * PARAMETERS + 4 * trained
    assert (found.gradients, found.optimizer) == (4 * trained, 8 * trained)


def test_four_bits_hold_the_layers_alone():
    one = run("qlora", lora={"r": 2, "target_modules": ["q_proj"]})
    inside = 2 * (3072 + 6144)
    rest = 2 * (PARAMETERS - inside)
    assert weight_bytes(SHAPE, one, "bfloat16") == int(inside * 4.127 / 8 + rest) + 4 * 256


def test_activations_grow_with_the_tokens_and_recomputed_ones_far_less():
    def of(**training):
        return estimated(SHAPE, run("full", training), "float32", "cuda").activations

    whole = of(per_device_train_batch_size=8)
    assert of(per_device_train_batch_size=16) == pytest.approx(2 * whole)
    # two layers: one is recomputed at a time, of both the inputs are kept
    assert whole / 2 < of(per_device_train_batch_size=8, gradient_checkpointing=True) < whole


def test_the_longest_batch_counts_where_it_is_known():
    packed = {"per_device_train_batch_size": 8, "batching": "packed"}
    one = run("full", packed, max_length=64)
    most = estimated(SHAPE, one, "float32", "cpu")
    half = estimated(SHAPE, one, "float32", "cpu", rows=8, length=32, scored=10)
    assert (most.rows, most.length) == (8, 64)
    assert half.activations * 2 == pytest.approx(most.activations)
    assert half.head < most.head
    assert half.least == most.least


@pytest.mark.parametrize(
    ("strategy", "weights", "moments"),
    [("ddp", 1, 1), ("deepspeed2", 1, 4), ("fsdp", 4, 4), ("deepspeed3", 4, 4)],
)
def test_processes_share_what_their_strategy_shares(strategy, weights, moments):
    alone = estimated(SHAPE, run("full"), "float32", "cuda")
    launch = {"num_processes": 4, "strategy": strategy}
    shared = estimated(SHAPE, run("full", launch=launch), "float32", "cuda")
    assert shared.weights == alone.weights // weights
    assert shared.gradients == alone.gradients // moments
    assert shared.optimizer == alone.optimizer // moments
    assert shared.activations == alone.activations


def test_parts_make_the_peak():
    told = estimated(SHAPE, run("full"), "float32", "cpu").told()
    parts = ("weights", "gradients", "optimizer", "activations", "head", "other")
    assert told["peak"] == sum(told[part] for part in parts)
    assert told["least"] < told["peak"]
