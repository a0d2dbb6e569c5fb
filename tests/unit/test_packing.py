"""Packed rows are as if each were alone: losses, gradients, whole steps."""

from types import SimpleNamespace

import pytest
import torch
from chat_fixture import shipped
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from test_trainer import small_trainer

from sftflow.packing import (
    PackedRows,
    attend_by_row,
    check_rows_are_apart,
    gradient_of_neighbour,
    log_probabilities,
    packed_rows,
    row_losses,
)
from sftflow.roworder import EvenBatches, KeptOrder, Shuffled, computed_tokens, row_sampler
from sftflow.stage import StageError

LENGTHS = [7, 64, 1, 30, 64, 2]  # two of the longest there may be, one without any loss
SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}


def rows(lengths, seed=0):
    """Return rows with a prompt (no loss) of a third of their tokens."""
    draw = torch.Generator().manual_seed(seed)
    found = []
    for length in lengths:
        ids = torch.randint(0, 64, (length,), generator=draw).tolist()
        labels = [-100] * (length // 3) + ids[length // 3 :]
        found.append({"input_ids": ids, "labels": labels, "length": length})
    return found


def model_of(kind="Qwen2", **more):
    """Return a random model with TRL's output head, whose tests ask for no training."""
    import transformers
    from trl.trainer.utils import add_fused_lm_head

    torch.manual_seed(1)
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **more})
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return model


def alone(model, row):
    """Return the summed loss of a row, without anything of this project."""
    ids, labels = (torch.tensor([row[key]]) for key in ("input_ids", "labels"))
    logits = model(input_ids=ids, use_cache=False).logits[0, :-1].double()
    return torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum").item()


KINDS = {
    "Qwen2": {},
    "Llama": {},
    "Gemma2": {"head_dim": 8, "sliding_window": 16},
    "Mistral": {"sliding_window": 16},
    "Mixtral": {"num_local_experts": 4},
    "GPT2": {},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_rows_loss_is_that_of_the_row_alone(kind):
    some = rows(LENGTHS)
    plain = model_of(kind, **KINDS[kind])
    expected = [alone(plain, row) for row in some]
    packed = model_of(kind, **KINDS[kind])
    collator = packed_rows(packed, shipped("chatml"), kind)
    batch = collator(some)
    assert batch["input_ids"].shape == (1, sum(LENGTHS))  # no padding
    assert row_losses(packed, batch) == pytest.approx(expected, abs=1e-4)
    assert expected[2] == 0 and min(expected[:2] + expected[3:]) > 1
    check_rows_are_apart(packed, collator, some, kind)


def test_the_mask_that_transformers_makes_of_positions_says_the_same():
    """Without attend_by_row: the block-diagonal mask in full, as another proof of the same."""
    some, model = rows(LENGTHS), model_of()
    batch = PackedRows(0)(some)
    dense = log_probabilities(model, {k: v for k, v in batch.items() if k != "row_lengths"})
    attend_by_row(model, "qwen")
    assert float((log_probabilities(model, batch) - dense).abs().max()) < 1e-5


def test_a_row_gets_no_gradient_from_its_neighbours():
    model, collator = model_of(), PackedRows(0)
    attend_by_row(model, "qwen")
    batch = collator(rows(LENGTHS))
    lengths = batch.pop("row_lengths")
    vectors = model.get_input_embeddings()(batch.pop("input_ids")).detach().requires_grad_(True)
    found = model(inputs_embeds=vectors, row_lengths=lengths, fused_lm_head=True, **batch)
    start, end = lengths[0], lengths[0] + lengths[1]
    (gradient,) = torch.autograd.grad(found.log_probs[0, start : end - 1].sum(), vectors)
    used = gradient[0].abs().sum(dim=1) > 0
    assert used[start : end - 1].all()
    assert not used[:start].any() and not used[end - 1 :].any()


def test_changing_a_row_changes_no_other():
    model = model_of()
    collator = packed_rows(model, shipped("chatml"), "qwen")
    some, other = rows(LENGTHS), rows(LENGTHS, seed=5)
    for at in range(len(some)):
        changed = [*some[:at], other[at], *some[at + 1 :]]
        pairs = zip(
            row_losses(model, collator(some)), row_losses(model, collator(changed)), strict=True
        )
        same = [before == now for before, now in pairs]
        assert [i for i, one in enumerate(same) if not one] in ([at], [] if at == 2 else [at])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("leak", "a row's loss changes with the row before it"),
        ("positions", "a row's loss is another one alone"),
    ],
)
def test_rows_that_are_not_apart_are_found(fault, said):
    model, collator = model_of("GPT2"), PackedRows(0)  # positions of RoPE may begin anywhere
    if fault == "positions":
        attend_by_row(model, "gpt")

    class Broken(PackedRows):
        def torch_call(self, examples):
            batch = super().torch_call(examples)
            if fault == "leak":
                batch.pop("row_lengths")
            batch["position_ids"] = torch.arange(batch["input_ids"].shape[1])[None]
            return batch

    some = rows([20, 30])
    check_rows_are_apart(model, collator, some, "gpt")
    with pytest.raises(StageError, match=f"rows can't be packed for gpt: {said}.*grouped"):
        check_rows_are_apart(model, Broken(0), some, "gpt")


CARRYING = {
    "Mamba": {"state_size": 4},
    "Lfm2": {"layer_types": ["conv", "full_attention"]},
    "MiniMax": {"layer_types": ["linear_attention", "full_attention"], "num_local_experts": 2},
}


@pytest.mark.parametrize("kind", CARRYING)
def test_a_model_with_a_state_is_refused(kind):
    with pytest.raises(StageError, match=f"for {kind}: its layers carry a state or a convolution"):
        attend_by_row(model_of(kind, **CARRYING[kind]), kind)


def test_an_architecture_with_attention_of_its_own_is_refused():
    with pytest.raises(StageError, match="for Falcon: its attention can't be kept within rows"):
        attend_by_row(model_of("Falcon"), "Falcon")


def test_a_leak_that_no_bound_on_losses_tells_from_rounding_is_found(monkeypatch):
    from sftflow import packing

    monkeypatch.setattr(packing, "carries_state", lambda _model: False)
    model, some = model_of("Lfm2", **CARRYING["Lfm2"]), rows([30, 40])
    collator = packed_rows(model, shipped("chatml"), "lfm")
    together = row_losses(model, collator(some))[1]
    assert 1e-6 < abs(together - row_losses(model, collator(some[1:]))[0]) < 1e-4
    assert gradient_of_neighbour(model, collator(some), 30) > 0
    with pytest.raises(StageError, match="changes with the row before it"):
        check_rows_are_apart(model, collator, some, "lfm")


def test_the_gradient_at_a_neighbour_is_exactly_none_in_16_bits():
    model = model_of("Mistral", sliding_window=16).to(torch.bfloat16)
    collator = packed_rows(model, shipped("chatml"), "mistral")
    assert gradient_of_neighbour(model, collator(rows([30, 40])), 30) == 0


def steps_of(folder, batching, some, **training):
    """Train a few steps; return the losses, gradient norms and tokens seen of each."""
    trainer = small_trainer(folder, some, batching=batching, **training)
    trainer.weigh_tokens()
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    keys = ("loss", "grad_norm", "num_input_tokens_seen")
    return trainer, [tuple(float(entry[k]) for k in keys) for entry in log]


@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_of_packed_rows_is_the_step_of_padded_ones(tmp_path, weighted):
    """Mean over the loss tokens of all its batches, which have not the same number of them."""
    some = rows([5, 40, 9, 33, 28, 11, 3, 17])
    for number, row in enumerate(some if weighted else ()):
        weight = 0.5 + number % 3
        row["loss_weights"] = [0.0 if label < 0 else weight for label in row["labels"]]
    sizes = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    padded, expected = steps_of(tmp_path / "padded", "padded", some, **sizes)
    packed, found = steps_of(tmp_path / "packed", "packed", some, **sizes)
    assert len(found) == 4
    for before, now in zip(expected, found, strict=True):
        assert now == pytest.approx(before, abs=1e-5, rel=1e-4)
    assert packed.token_counts() == {"computed_tokens": 2 * 146, "efficiency": 1.0}
    assert padded.token_counts()["computed_tokens"] > 2 * 146


lengths_strategy = st.lists(st.integers(1, 400), min_size=1, max_size=80)


@given(lengths_strategy, st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(0, 2))
def test_packed_steps_have_the_rows_of_padded_ones(lengths, batch, batches, seed, epoch):
    group = batch * batches
    padded = row_sampler(lengths, "padded", group, batch, seed)
    packed = row_sampler(lengths, "packed", group, batch, seed)
    assert type(padded) is Shuffled
    for sampler in (padded, packed):
        sampler.set_epoch(epoch)
    one, other = list(padded), list(packed)
    for at in range(0, len(lengths), group):
        assert sorted(one[at : at + group]) == sorted(other[at : at + group])


def test_batches_of_a_step_get_about_as_many_tokens():
    lengths = [100, 90, 80, 70, 4, 3, 2, 1]
    order = list(EvenBatches(lengths, group=8, seed=0, batch=4))
    sums = [sum(lengths[i] for i in order[at : at + 4]) for at in (0, 4)]
    assert sorted(sums) == [175, 175]


def test_computed_tokens_are_those_of_the_steps_taken():
    lengths = [1, 2, 3, 4, 5]
    sampler = KeptOrder(lengths, "as_is")
    # batches (1 2) (3 4) (5): padded to 2 + 2, 4 + 4, 5; steps of two batches
    assert computed_tokens(sampler, lengths, 4, 2, 1, packed=False) == (10, 12)
    assert computed_tokens(sampler, lengths, 4, 2, 2, packed=False) == (15, 17)
    assert computed_tokens(sampler, lengths, 4, 2, 3, packed=False) == (25, 29)
    assert computed_tokens(sampler, lengths, 4, 2, 3, packed=True) == (25, 25)


def test_one_row_has_no_neighbour():
    check_rows_are_apart(SimpleNamespace(), PackedRows(0), Dataset.from_list(rows([3])), "x")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_apart_on_a_gpu(dtype):
    """Flash attention where it is installed, in 16 bits; else PyTorch's, row by row."""
    model = model_of().to("cuda", dtype)
    collator = packed_rows(model, shipped("chatml"), "qwen")
    check_rows_are_apart(model, collator, rows([40, 60]), "qwen")
