"""The arithmetic of the memory estimate; bench/memory.py holds it against measured peaks."""

import pytest

from sftflow.configschema import fill_defaults, schema
from sftflow.expertmemory import expert_copies
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


KINDS = {
    "Qwen2": {},
    "Llama": {},
    "Qwen3": {"head_dim": 8},
    "Olmo2": {},
    "Qwen3Moe": {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    "Mixtral": {"num_local_experts": 6, "num_experts_per_tok": 2},
    "Olmoe": {"num_experts": 6, "num_experts_per_tok": 3},
}
MIXTURES = ("Qwen3Moe", "Mixtral", "Olmoe")
NO_DROPOUT = {"lora": {"lora_dropout": 0}}


def model_of(kind="Qwen2", layers=2):
    """Return a random model of CONFIG's sizes, and its shape as config.json tells it."""
    import transformers

    sizes = {k: v for k, v in CONFIG.items() if k != "model_type"}
    sizes |= {**KINDS[kind], "num_hidden_layers": layers, "tie_word_embeddings": False}
    config = getattr(transformers, f"{kind}Config")(**sizes)
    return getattr(transformers, f"{kind}ForCausalLM")(config), shape_of(config.to_dict())


def kept_of_a_layer(one, padded, kind="Qwen2"):
    """Return the bytes that autograd really keeps of a layer for a token: of 3 layers less 2."""
    import torch
    from peft import get_peft_model

    from sftflow.adapting import prepare

    totals = []
    ids = torch.ones(4, 16, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[0, 9:] = 0 if padded else 1
    for layers in (2, 3):
        model, _ = model_of(kind, layers)
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
    [("full", {}), ("bitfit", {}), ("lora", {}), ("lora", NO_DROPOUT)],
)
def test_activations_of_a_layer_are_what_autograd_keeps(method, more, padded):
    one = run(method, **more)
    counted = layer_activations(SHAPE, one, "float32", "cpu", 16 if padded else None)
    assert counted == kept_of_a_layer(one, padded)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Qwen2"])
def test_activations_of_other_families_are_too(kind, method):
    """LoRA on experts keeps a copy of their weights of each layer: one layer more has one more."""
    one, shape = run(method, **(NO_DROPOUT if method == "lora" else {})), model_of(kind)[1]
    counted = layer_activations(shape, one, "float32", "cpu", None)
    copies = expert_copies(shape, one, 4, 3) - expert_copies(shape, one, 4, 2)
    assert counted + copies / 64 == pytest.approx(kept_of_a_layer(one, False, kind), rel=0.005)
    assert (copies > 0) == (kind in MIXTURES and method == "lora")


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        *((kind, "all-linear") for kind in MIXTURES),
        ("Mixtral", ["q_proj", "w2"]),
        ("Qwen3Moe", ["gate", "gate_proj", "up_proj"]),
    ],
)
def test_adapters_of_experts_are_counted(kind, targets):
    from peft import get_peft_model

    from sftflow.adapting import prepare

    one = run(lora={"r": 3, "lora_dropout": 0, "target_modules": targets})
    model, shape = model_of(kind)
    assert shape.parameters == model.num_parameters()
    adapted = get_peft_model(model, prepare(model, one, "small", 100, ""))
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert trained_parameters(shape, one) == trained


def test_four_bits_hold_no_experts():
    """bitsandbytes takes linear layers; stacked experts stay as they are."""
    shape = model_of("Mixtral")[1]
    one = run("qlora", lora={"r": 2, "lora_dropout": 0, "target_modules": ["q_proj"]})
    rest = 2 * (shape.parameters - 2 * 3072)
    assert weight_bytes(shape, one, "bfloat16") == int(2 * 3072 * 4.127 / 8 + rest) + 4 * 256


def test_pairs_have_twice_the_rows_and_full_training_a_reference():
    for method in ("lora", "full"):
        alone, pairs = run(method, **NO_DROPOUT) if method == "lora" else run(method), run(method)
        pairs["dpo"] = {"beta": 0.1}  # switches dropout off
        twice = {**alone, "training": {**alone["training"], "per_device_train_batch_size": 16}}
        one, two = (estimated(SHAPE, each, "float32", "cuda") for each in (twice, pairs))
        assert two.rows == 16
        reference = 4 * PARAMETERS if method == "full" else 0
        assert two.weights == one.weights + reference
        working = 16 * two.length * (2 * 32 + 3 * 64) * 4  # of the reference's forward
        assert two.activations == pytest.approx(one.activations + working, rel=1e-6)
        assert (two.gradients, two.optimizer) == (one.gradients, one.optimizer)


def test_full_training_in_float32_has_sixteen_bytes_a_parameter():
    found = estimated(SHAPE, run("full"), "float32", "cpu")
    assert found.least == 16 * PARAMETERS  # ZeRO, section 3.1, with float32 throughout
    assert found.weights == found.gradients == 4 * PARAMETERS


MOMENTS = {
    # bytes of each number: two of 4 bytes, one, or of 8 bits with 4 bytes for each 256
    "adamw_torch": 8,
    "lion_32bit": 4,
    "lion_8bit": 1 + 4 / 256,
    "adamw_8bit": 2 * (1 + 4 / 256),
    "paged_adamw_32bit": 0,  # at worst they are in the machine's memory
    "adafactor": 4 * (1 / 2 + 1 / 32),  # matrices of 2 x 32: a sum for each row and column
}


@pytest.mark.parametrize("optim", MOMENTS)
def test_an_optimizer_keeps_what_it_keeps(optim):
    one = run(training={"optim": optim}, lora={"r": 2, "target_modules": ["q_proj"]})
    trained = 2 * 2 * (32 + 32)
    found = estimated(SHAPE, one, "float32", "cuda")
    assert found.optimizer == int(MOMENTS[optim] * trained)
    assert found.gradients == 4 * trained


def test_embeddings_keep_moments_of_32_bits():
    found = estimated(SHAPE, run("full", {"optim": "lion_8bit"}), "float32", "cuda")
    inside, embeddings = PARAMETERS - 100 * 32, 100 * 32
    assert found.optimizer == int(inside * (1 + 4 / 256) + 4 * embeddings)


@pytest.mark.parametrize("method", ["full", "lora", "ia3", "prompt"])
def test_what_adafactor_keeps_is_what_is_estimated(method):
    """Of the very model; biases and norms, which are no matrices, are more than is said of them."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from transformers.optimization import Adafactor

    from sftflow.adapting import prepare

    model = Qwen2ForCausalLM(Qwen2Config(**CONFIG))
    one = run(method, {"optim": "adafactor"})
    adapter = prepare(model, one, "b", 2, "")
    if adapter is not None:
        from peft import get_peft_model

        model = get_peft_model(model, adapter)
    trained = [p for p in model.parameters() if p.requires_grad]
    for weight in trained:
        weight.grad = torch.ones_like(weight)
    optimizer = Adafactor(trained, lr=1e-3, scale_parameter=False, relative_step=False)
    optimizer.step()
    kept = sum(
        4 * value.numel()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    estimate = estimated(SHAPE, one, "float32", "cpu").optimizer
    assert estimate == pytest.approx(kept, rel=0.35)


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


@pytest.mark.parametrize("steps", [1, 2])
def test_parts_make_the_peak(steps):
    """Gradients come as activations go, unless those of an earlier batch are there already."""
    told = estimated(
        SHAPE, run("full", {"gradient_accumulation_steps": steps}), "float32", "cpu"
    ).told()
    moving = told["activations"] + told["head"]
    both = moving + told["gradients"] if steps == 2 else moving
    assert told["peak"] == told["weights"] + told["optimizer"] + told["other"] + both
    assert moving > told["gradients"]
    assert told["least"] < told["peak"]


def test_short_batches_leave_the_gradients_at_the_peak():
    one = run("full", {"gradient_accumulation_steps": 1})
    found = estimated(SHAPE, one, "float32", "cuda", rows=1, length=1)
    assert found.peak == found.least
