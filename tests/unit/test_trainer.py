import math
from types import SimpleNamespace

import pytest

from sftflow.checkpoints import fault
from sftflow.roworder import GroupedByLength, KeptOrder
from sftflow.shownanswers import Answers
from sftflow.stage import StageError
from sftflow.trainer import (
    MaskedTrainer,
    Watch,
    score_trained_positions_only,
)


def test_every_row_once_in_groups_of_like_length():
    lengths = [(row * 37) % 101 for row in range(1000)]
    order = list(GroupedByLength(lengths, group=8, seed=0))
    assert sorted(order) == list(range(1000))
    groups = [[lengths[row] for row in order[at : at + 8]] for at in range(0, 1000, 8)]
    spread = sum(max(g) - min(g) for g in groups) / len(groups)
    assert spread < 10  # 79 on average if rows were drawn at random
    firsts = [g[0] for g in groups]
    assert firsts != sorted(firsts)  # the groups themselves come in any order


def test_the_order_hangs_on_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = GroupedByLength(list(range(100)), 4, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_a_last_smaller_group_does_not_cut_the_others():
    lengths = [*([10] * 7), *([50] * 4)]
    order = list(GroupedByLength(lengths, group=4, seed=3))
    assert sorted(order) == list(range(11))
    assert len(order[8:]) == 3


def test_a_kept_order_is_the_same_in_each_epoch():
    lengths = [30, 10, 20, 10]
    assert list(KeptOrder(lengths, "as_is")) == [0, 1, 2, 3]
    short_first = KeptOrder(lengths, "short_first")
    assert list(short_first) == list(short_first) == [1, 3, 2, 0]  # equal lengths as they came
    assert len(short_first) == 4
    with pytest.raises(StageError, match="'long_first'; expected shuffled"):
        KeptOrder(lengths, "long_first")


def test_the_trainer_keeps_an_order_only_if_told():
    trainer = MaskedTrainer.__new__(MaskedTrainer)
    trainer.train_dataset = {"length": [3, 1, 2]}
    trainer.args = SimpleNamespace(
        per_device_train_batch_size=1, gradient_accumulation_steps=1, world_size=1, seed=0
    )
    assert isinstance(trainer._get_train_sampler(), GroupedByLength)
    trainer.kept_order = "short_first"
    assert list(trainer._get_train_sampler()) == [1, 2, 0]


TRAINING = {
    "gradient_checkpointing": False,
    "learning_rate": 0.1,
    "lr_scheduler_type": "constant",
    "weight_decay": 0,
    "max_grad_norm": 1,
    "seed": 0,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "neftune_noise_alpha": None,
    "batching": "grouped",
}


def small_trainer(folder, rows, **training):
    import torch
    from chat_fixture import shipped
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM

    from sftflow.packing import packed_rows
    from sftflow.training import Schedule, trainer_settings

    tokenizer = shipped("chatml")
    settings = {**TRAINING, **training}
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": len(tokenizer)}
    plan = Schedule(2, 4, 4, 1, 0, 1)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**sizes))
    packed = settings["batching"] == "packed"
    trainer = MaskedTrainer(
        model=model,
        args=trainer_settings(settings, plan, folder, "float32", False),
        data_collator=packed_rows(model, tokenizer, "small") if packed else None,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.batching = settings["batching"]
    return trainer


def test_batches_come_in_the_kept_order(tmp_path):
    """Through the trainer's own data loader, which may wrap or replace a sampler."""
    lengths = [5, 2, 4, 3]
    rows = [{"input_ids": [n] * n, "labels": [n] * n, "length": n} for n in lengths]
    trainer = small_trainer(tmp_path, rows)
    for order, expected in (("as_is", [5, 2, 4, 3]), ("short_first", [2, 3, 4, 5])):
        trainer.kept_order = order
        for _ in range(2):
            seen = [n for batch in trainer.get_train_dataloader() for n in batch["input_ids"][:, 0]]
            assert [int(n) for n in seen] == expected


def poison(trainer, token):
    """Let the gradient of a batch with ``token`` be NaN."""
    embedding = trainer.model.get_input_embeddings().weight
    embedding.register_hook(lambda g: g * math.nan if g[token].abs().sum() else g)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_gradient_that_is_no_number_never_reaches_the_weights(tmp_path, accumulation):
    """Rows 1 and 2 come first, then 3 and 4, of which 4 has the poisoned token."""
    import torch

    rows = [
        {"id": f"row-{n}", "input_ids": [n, n + 9, n], "labels": [n] * 3, "length": 3}
        for n in (1, 2, 3, 4)
    ]
    batch = 2 // accumulation
    trainer = small_trainer(
        tmp_path,
        rows,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
    )
    trainer.kept_order = "as_is"
    poison(trainer, 13)
    said = (
        r"gradient norm is nan at step 2 \(learning rate 0.1\), in a batch of rows row-3, row-4: "
        "the weights are as they should be, .*; checkpoint-1 is kept"
    )
    with pytest.raises(StageError, match=said):
        trainer.train()
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    assert fault(tmp_path / "checkpoint-1") is None


@pytest.mark.parametrize(
    ("weight", "trained", "cause"),
    [
        (math.nan, True, "thrown the weight model.embed_tokens.weight to nan: lower training.lea"),
        (3e38, True, "thrown the weight model.embed_tokens.weight to 3e[+]38"),
        (math.nan, False, "the start model's weight model.embed_tokens.weight is nan: make or"),
    ],
)
def test_a_loss_that_is_no_number_names_its_rows_and_the_weight(tmp_path, weight, trained, cause):
    """Of a step's rows only those of the batch that failed are named."""
    rows = [{"input_ids": [n, n, n], "labels": [n] * 3, "length": 3} for n in (1, 2)]
    accumulated = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    trainer = small_trainer(tmp_path, rows, **accumulated)
    trainer.kept_order = "as_is"
    embedding = trainer.model.get_input_embeddings().weight
    embedding.data[2] = weight
    embedding.requires_grad_(trained)
    # an overflow of the squares alone would be normalised to 0
    trainer.model.model.norm.register_forward_hook(lambda _m, i, out: out + 0 * i[0].sum() ** 2)
    with pytest.raises(StageError, match=rf"loss is nan at step 1 .*number 2: .*{cause}.*; no ch"):
        trainer.train()


def log(watch, step, **logs):
    args = SimpleNamespace(fp16=False)
    state = SimpleNamespace(global_step=step)
    watch.on_log(args, state, None, {"learning_rate": 0.1, "grad_norm": 1.0, **logs})


@pytest.mark.parametrize(
    ("step", "logs", "sentence"),
    [
        (7, {"loss": math.nan}, "loss is nan at step 7"),
        (7, {"loss": math.inf}, "loss is inf at step 7"),
        (7, {"eval_loss": math.nan}, "eval_loss is nan at step 7"),
        (1, {"loss": 0.0}, "the loss of step 1 is 0,"),
        (1, {"loss": 9.3}, r"2 ln\(vocabulary\) = 9.21"),  # 2 ln 100 = 9.2103
        (1, {"loss": 4.0, "grad_norm": 0.0}, "nothing is learned"),
        (9, {"loss": 4.0, "grad_norm": math.inf}, "gradient norm is inf at step 9"),
    ],
)
def test_a_training_that_cannot_succeed_is_stopped(step, logs, sentence):
    with pytest.raises(StageError, match=sentence):
        log(Watch(100), step, **logs)


def test_a_good_training_goes_on():
    watch = Watch(100)
    log(watch, 1, loss=4.6)
    log(watch, 2, loss=0.0)  # learned by heart: no fault later on
    assert watch.note == "loss 0.0000, learning rate 0.1"


def test_prompts_end_where_the_loss_begins():
    row = {"input_ids": [5, 6, 7, 8, 9], "labels": [-100, -100, 7, 8, -100]}
    answers = Answers([row], None, None)
    assert (answers.prompts, answers.references) == ([[5, 6]], [[7, 8]])


def test_leaving_out_positions_without_loss_changes_no_loss(monkeypatch):
    import torch
    import trl.trainer.utils
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )
    ids = torch.randint(0, 64, (2, 12))
    labels = ids.masked_fill(torch.rand(2, 12) < 0.7, -100)
    trl.trainer.utils.add_fused_lm_head(model)
    seen = []
    for compact in (False, True):
        monkeypatch.setattr(trl.trainer.utils, "_use_triton", lambda _device: False)
        if compact:
            score_trained_positions_only()
        model.zero_grad()
        loss = model(input_ids=ids, labels=labels, fused_lm_head=True).loss
        loss.backward()
        seen.append((loss.detach(), model.model.layers[0].mlp.up_proj.weight.grad.clone()))
    torch.testing.assert_close(seen[0], seen[1])
    plain = model(input_ids=ids, labels=labels).loss
    torch.testing.assert_close(seen[1][0], plain.detach())
