"""What a method asks of its base is told before any job where config.json is at hand."""

from __future__ import annotations

import json

import pytest
from broken_config import GOOD, assert_one_fault, load

from sftflow.modelshape import made_config

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 100}
SIZES |= {"num_attention_heads": 4, "max_position_embeddings": 4096}
MOE = {**SIZES, "model_type": "qwen3_moe"}
LLAMA = {**SIZES, "model_type": "llama"}
LFM = {**SIZES, "model_type": "lfm2", "layer_types": ["conv", "full_attention"]}
ATTENTION = ["q_proj", "v_proj"]


def given(folder, config_json: dict, run: dict) -> dict:
    """Return a good config whose base is a folder with this config.json."""
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(config_json))
    for name in ("model.safetensors", "tokenizer.json"):
        (model / name).write_text("")
    more = {"base": "mine", "dataset": "talk", "max_length": 512, **run}
    return {**GOOD, "bases": {"mine": {"path": "model", "template": "chatml"}}, "runs": {"r": more}}


REFUSED = {
    "dropout of experts": (
        (MOE, {}),  # the default
        "runs.r.lora.lora_dropout: the experts of mine are stacked parameters, for which PEFT has "
        "none but 0; set lora_dropout: 0, or name only the layers of the attention",
    ),
    "dora of named experts": (
        (MOE, {"lora": {"lora_dropout": 0, "use_dora": True, "target_modules": ["mlp.up_proj"]}}),
        "runs.r.lora.use_dora: the experts of mine",
    ),
    "four bits too": (
        ({**MOE, "model_type": "mixtral"}, {"method": "qlora"}),
        "runs.r.lora.lora_dropout: the experts of mine",
    ),
    "biases that are not there": (
        (LLAMA, {"method": "bitfit"}),
        "runs.r.method: bitfit trains biases, and mine has none; use ia3 or lora",
    ),
    "prefix before a convolution": (
        (LFM, {"method": "prefix", "measure": False}),
        "runs.r.method: prefix: mine has layers without keys and values",
    ),
    "packed beside a convolution": (
        (LFM, {"training": {"batching": "packed"}}),
        "runs.r.training.batching: mine can't be packed: its layers carry a state",
    ),
}
TAKEN = {
    "experts without dropout": (MOE, {"lora": {"lora_dropout": 0}}),
    "attention beside experts": (MOE, {"lora": {"target_modules": ATTENTION}}),
    "dropout of a model without experts": (LLAMA, {}),
    "biases that are there": ({**LLAMA, "attention_bias": True}, {"method": "bitfit"}),
    "windows are attention": (
        {**LLAMA, "layer_types": ["sliding_attention", "full_attention"]},
        {"training": {"batching": "packed"}},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_base_does_not_take_is_told(tmp_path, name):
    case, sentence = REFUSED[name]
    assert_one_fault(tmp_path, given(tmp_path, *case), sentence)


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_base_takes_is_taken(tmp_path, name):
    assert load(tmp_path, given(tmp_path, *TAKEN[name]))["runs"]["r"]


def test_a_run_on_another_run_is_asked_of_its_first_base(tmp_path):
    config = given(tmp_path, MOE, {"lora": {"lora_dropout": 0}})
    config["runs"]["next"] = {**config["runs"]["r"], "base": "r", "lora": {"lora_dropout": 0.1}}
    assert_one_fault(tmp_path, config, "runs.next.lora.lora_dropout: the experts of mine")


def test_a_base_that_is_made_here_is_known():
    assert made_config({"hidden_size": 8})["model_type"] == "qwen2"  # has biases
