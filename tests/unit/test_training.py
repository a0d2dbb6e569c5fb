import pytest

from sftflow.adapting import lora_config, prepare
from sftflow.stage import StageError
from sftflow.training import computing_dtype, schedule, start_model

TRAINING = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 3,
    "warmup_ratio": 0.1,
}


def test_steps_are_counted_as_the_trainer_counts_them():
    # 100 rows / 8 = 13 batches, / 2 = 7 steps per epoch, * 3 = 21; 10 % of 21 is 2.1
    plan = schedule(TRAINING, 100)
    assert (plan.steps_per_epoch, plan.steps, plan.warmup_steps) == (7, 21, 3)
    assert (plan.eval_steps, plan.save_steps, plan.logging_steps) == (7, 7, 1)
    # on 4 processes: 100 / 32 = 4 batches, 2 steps, 6 in all
    assert schedule(TRAINING, 100, 4).steps == 6
    assert schedule({**TRAINING, "num_train_epochs": 0.5}, 100).steps == 4
    assert (schedule(TRAINING, 3).steps_per_epoch, schedule(TRAINING, 3).steps) == (1, 3)
    assert schedule({**TRAINING, "max_steps": 5}, 100).eval_steps == 5  # not after the end
    assert schedule({**TRAINING, "max_steps": 5000}, 100).logging_steps == 10


@pytest.fixture(scope="module")
def model():
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )


LORA = {
    "r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "use_rslora": False,
    "use_dora": False,
    "init": "default",
    "lr_ratio": None,
}


def test_targets_that_match_nothing_are_named(model):
    with pytest.raises(StageError, match=r"'qq_proj' matches nothing in b; it has down_proj, "):
        lora_config({**LORA, "target_modules": ["q_proj", "qq_proj"]}, model, "b")
    with pytest.raises(StageError, match="'lm_head' matches nothing"):
        lora_config({**LORA, "target_modules": ["lm_head"]}, model, "b")
    config = lora_config({**LORA, "target_modules": ["q_proj", "mlp.up_proj"]}, model, "b")
    assert config.target_modules == {"q_proj", "mlp.up_proj"}
    assert lora_config({**LORA, "target_modules": "all-linear"}, model, "b").r == 4


def test_a_method_that_does_not_fit_the_model_says_so(model):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    llama = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=1, vocab_size=8))
    with pytest.raises(StageError, match="bitfit trains biases, and b has none; use ia3 or lora"):
        prepare(llama, {"method": "bitfit"}, "b", 10, "")
    spec = {"method": "last_n_layers", "last_n_layers": {"n": 2}}
    with pytest.raises(StageError, match=r"last_n_layers\.n: 2 is more than the 1 layers of b"):
        prepare(llama, spec, "b", 10, "")
    ia3 = {"target_modules": None, "feedforward_modules": None}
    llama.config.model_type = "newer"
    with pytest.raises(StageError, match=r"a model of type newer; name keys, values"):
        prepare(llama, {"method": "ia3", "ia3": ia3}, "b", 10, "")
    ia3 = {"target_modules": ["k_proj", "up"], "feedforward_modules": None}
    with pytest.raises(StageError, match=r"ia3\.target_modules: 'up' matches nothing in b"):
        prepare(llama, {"method": "ia3", "ia3": ia3}, "b", 10, "")


def test_adalora_needs_steps_to_take_ranks_away_in(model):
    options = {"init_r": 6, "target_r": 4, "lora_alpha": 8, "lora_dropout": 0, "interval": 1}
    options |= {"orth_reg_weight": 0.5, "target_modules": "all-linear"}
    spec = {"method": "adalora", "adalora": {**options, "warmup_share": 0.1, "final_share": 0.5}}
    config = prepare(model, spec, "b", 100, "")
    assert (config.tinit, config.tfinal, config.total_step) == (10, 50, 100)
    with pytest.raises(StageError, match="of 2 steps none is left to take ranks away in"):
        prepare(model, spec, "b", 2, "")


def test_a_weight_that_would_be_made_up_stops_the_stage(model, tmp_path):
    import safetensors.torch

    model.save_pretrained(tmp_path)
    start_model(tmp_path, "lora", "float32")
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    safetensors.torch.save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(StageError, match=r"lacks model\.layers\.0\.mlp\.up_proj\.weight"):
        start_model(tmp_path, "lora", "float32")


def test_precision_follows_the_device(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert computing_dtype("auto") == "float32"
    assert computing_dtype("bfloat16") == "bfloat16"
    with pytest.raises(StageError, match="float16 training needs a GPU"):
        computing_dtype("float16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for has, chosen in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has, **_: has)
        assert computing_dtype("auto") == chosen
    with pytest.raises(StageError, match="no bfloat16"):
        computing_dtype("bfloat16")
