"""Methods on bases whose layers are not nn.Linear: GPT-2's Conv1D, experts as one parameter."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from chat_fixture import shipped
from datasets import Dataset
from test_packing import model_of
from test_trainer import TRAINING
from test_training import LORA

from sftflow.adapting import (
    ia3_config,
    linear_names,
    lora_config,
    prefix_config,
    told_if_unfit,
)
from sftflow.experts import EXPERTS
from sftflow.stage import StageError
from sftflow.trainer import MaskedTrainer
from sftflow.training import Schedule, trainer_settings

EXPERT_SIZES = {"num_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
EXPERT_SIZES |= {"moe_intermediate_size": 16}
PLAIN = {**LORA, "target_modules": "all-linear"}
IA3 = {"target_modules": None, "feedforward_modules": None}


def adapted(config, model):
    """Return the names of what an adapter adds."""
    from peft import get_peft_model

    weights = get_peft_model(model, config).named_parameters()
    return {name for name, weight in weights if weight.requires_grad}


def test_the_layers_of_gpt2_are_linear_by_another_name():
    model = model_of("GPT2")
    names = {name.rsplit(".", 1)[-1] for name in linear_names(model)}
    assert names == {"c_attn", "c_proj", "c_fc"}
    named = lora_config({**PLAIN, "target_modules": ["c_attn"]}, model, "gpt")
    assert named.target_modules == {"c_attn"}
    assert adapted(ia3_config(IA3, model, "gpt"), model)


def test_an_initialisation_that_peft_lacks_for_transposed_layers_is_refused():
    with pytest.raises(StageError, match=r"olora takes no transposed layers .*gpt has them"):
        lora_config({**PLAIN, "init": "olora"}, model_of("GPT2"), "gpt")
    assert lora_config({**PLAIN, "init": "olora"}, model_of("Qwen2"), "qwen")


@pytest.mark.parametrize(
    ("key", "value", "plain"),
    [("lora_dropout", 0.05, "0"), ("use_dora", True, "false"), ("init", "pissa", "default")],
)
def test_what_experts_do_not_take_is_refused(key, value, plain):
    model = model_of("Qwen3Moe", **EXPERT_SIZES)
    with pytest.raises(StageError, match=rf"lora.{key}: the experts of moe .* set {key}: {plain}"):
        lora_config({**PLAIN, key: value}, model, "moe")
    attention = {**PLAIN, key: value, "target_modules": ["q_proj", "v_proj"]}
    assert not any("experts" in name for name in adapted(lora_config(attention, model, "m"), model))


def test_experts_are_adapted_where_all_linear_layers_are():
    model = model_of("Qwen3Moe", **EXPERT_SIZES)
    assert any("experts" in name for name in adapted(lora_config(PLAIN, model, "moe"), model))


def test_experts_are_known_by_the_names_that_peft_knows():
    from peft.utils import transformers_weight_conversion as peft
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    known = {
        kind: set(peft._MOE_TARGET_MODULE_MAPPING[pattern])
        for kind, pattern in peft._MODEL_TO_CONVERSION_PATTERN.items()
        if pattern in peft._MOE_FUSED_TARGETS and get_checkpoint_conversion_mapping(kind)
    }
    assert {kind: set(names) for kind, names in EXPERTS.items()} == known


def test_experts_can_be_named():
    model = model_of("Qwen3Moe", **EXPERT_SIZES)
    named = {**PLAIN, "target_modules": ["gate_proj", "up_proj", "down_proj"]}
    assert any("experts" in name for name in adapted(lora_config(named, model, "moe"), model))
    half = {**PLAIN, "target_modules": ["q_proj", "up_proj"]}
    with pytest.raises(StageError, match=r"lora does not fit moe; PEFT says: .*without also targ"):
        lora_config(half, model, "moe")


def test_keys_before_layers_without_keys_are_refused():
    model = model_of("Lfm2", layer_types=["conv", "full_attention"])
    with pytest.raises(StageError, match="method prefix: lfm has layers without keys"):
        prefix_config({"num_virtual_tokens": 4, "encoder_hidden_size": None}, model, "lfm")


def test_what_peft_refuses_is_told_in_its_words():
    model = model_of("Mamba", state_size=4)
    said = "method lora does not fit mamba; PEFT says: .*'out_proj' is incompatible with Mamba"
    with pytest.raises(StageError, match=said), told_if_unfit("lora", "mamba"):
        adapted(lora_config(PLAIN, model, "mamba"), model)
    with pytest.raises(ValueError, match="other"), told_if_unfit("lora", "mamba"):
        raise ValueError("other")


def test_experts_of_a_checkpoint_are_put_back(tmp_path):
    """In the file they lie apart, in memory they are stacked: the names are not the same."""
    trainer = MaskedTrainer.__new__(MaskedTrainer)
    trainer.is_fsdp_enabled = trainer.is_deepspeed_enabled = False
    trainer.args = SimpleNamespace(output_dir=str(tmp_path))
    trainer.state = SimpleNamespace(best_global_step=2)
    trainer.model = model_of("Qwen3Moe", **EXPERT_SIZES)
    trainer.model.save_pretrained(tmp_path / "checkpoint-2")
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    resumed = partial(trainer._load_from_checkpoint, tmp_path / "checkpoint-2")
    for put_back in (trainer.load_best, resumed):
        for weight in trainer.model.parameters():
            weight.data.add_(1)
        put_back()
        now = trainer.model.state_dict()
        assert all(now[name].equal(weight) for name, weight in before.items())


@pytest.fixture
def mixture(tmp_path):
    """Return a trainer of a model with experts, which balances them."""
    rows = [{"input_ids": [n, n + 1, n + 2], "labels": [-100, n + 1, n + 2]} for n in range(4)]
    plan = Schedule(2, 4, 4, 1, 0, 1)
    trainer = MaskedTrainer(
        model=model_of("Qwen3Moe", router_aux_loss_coef=0.5, **EXPERT_SIZES),
        args=trainer_settings(TRAINING, plan, tmp_path, "float32", False),
        train_dataset=Dataset.from_list([{**row, "length": 3} for row in rows]),
        processing_class=shipped("chatml"),
    )
    trainer.batching = "grouped"
    return trainer


def test_a_validation_loss_has_no_balance_of_experts_in_it(mixture):
    rows = mixture.train_dataset
    ids, labels = (torch.tensor(rows[key]) for key in ("input_ids", "labels"))
    with torch.no_grad():
        logits = mixture.model.eval()(input_ids=ids).logits[:, :-1].flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten())
    assert mixture.validation_loss(rows) == pytest.approx(expected.item(), abs=1e-5)
    mixture.model.train()
    batch = mixture.data_collator([rows[i] for i in range(4)])
    assert mixture.compute_loss(mixture.model, batch).item() > expected.item() + 0.1  # trained by


def test_pairs_have_no_balance_of_experts_in_their_loss(tmp_path):
    """A policy that is its own reference has a loss of ln 2, whatever its experts do."""
    from sftflow.configschema import fill_defaults, schema
    from sftflow.preferencetrainer import PairCollator, PreferenceTrainer, preference_settings

    dpo = fill_defaults({}, schema()["$defs"]["dpo"])
    row = {"input_ids": [1, 2, 3, 4], "answer_start": 2, "rejected_ids": [5, 6, 7], "length": 4}
    tokenizer, plan = shipped("chatml"), Schedule(1, 1, 1, 1, 0, 1)
    trainer = PreferenceTrainer(
        model=model_of("Qwen3Moe", router_aux_loss_coef=0.5, **EXPERT_SIZES),
        args=preference_settings(TRAINING, dpo, plan, tmp_path, "float32", evaluates=False),
        data_collator=PairCollator(0),
        train_dataset=Dataset.from_list([row] * 2),
        processing_class=tokenizer,
        peft_config=lora_config(PLAIN, model_of("Qwen3Moe", **EXPERT_SIZES), "moe"),
    )
    batch = trainer.data_collator([row])
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(0.6931, abs=1e-3)
