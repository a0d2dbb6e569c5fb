"""Shapes read from config.json, held against transformers' own classes (without their weights)."""

import pytest

from sftflow.modelshape import FAMILIES, shape_of

SMALL = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 120,
    "pad_token_id": 0,
}


def built(family, **more):
    """Return the model of a family, on no device, and what its config.json says."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **{**SMALL, **more})
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config), config.to_dict()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_is_counted(family):
    import torch

    wide = {"head_dim": 12} if family in ("qwen2", "olmoe") else {}  # they take hidden_size / heads
    model, config = built(family, **wide)
    shape = shape_of(config)
    assert shape.parameters == model.num_parameters()
    first = model.model.layers[0]
    linears = {
        name.rsplit(".", 1)[-1]: (module.in_features, module.out_features)
        for name, module in first.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    assert shape.linears == linears


@pytest.mark.parametrize(
    "more",
    [{"attention_bias": True}, {"mlp_bias": True}, {"tie_word_embeddings": True}],
    ids=lambda more: next(iter(more)),
)
def test_options_of_llama_are_counted(more):
    model, config = built("llama", **more)
    assert shape_of(config).parameters == model.num_parameters()


@pytest.mark.parametrize("family", ["gemma", "smollm3"])
def test_a_config_that_does_not_say_so_shares_embeddings_as_its_family_does(family):
    model, config = built(family)
    del config["tie_word_embeddings"]
    assert shape_of(config).parameters == model.num_parameters()


@pytest.mark.parametrize(
    "config",
    [
        {},
        {**SMALL, "model_type": "mamba"},
        {**SMALL, "model_type": "qwen2", "hidden_size": None},
        {**SMALL, "model_type": "qwen2", "num_hidden_layers": "many"},
        {**SMALL, "model_type": "qwen2", "vocab_size": 0},
        {**SMALL, "model_type": ["qwen2"]},
    ],
)
def test_of_what_is_not_known_there_is_no_shape(config):
    assert shape_of(config) is None
