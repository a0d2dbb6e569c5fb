"""A rehearsed training is the one that was not rehearsed, to the bit; and says what did not fit."""

import json
import random

import numpy as np
import pytest
from test_trainer import small_trainer

from sftflow.lacksmemory import is_lack_of_memory
from sftflow.rehearsal import SAVED, Rehearsal
from sftflow.roworder import batches, longest_batch
from sftflow.stage import StageError

TOLD = {"check": True, "estimate": None}
ROWS = [
    {"input_ids": [n % 90 + 3] * (2 + n % 5), "labels": [n % 90 + 3] * (2 + n % 5)}
    for n in range(12)
]
ROWS = [{**row, "length": len(row["input_ids"])} for row in ROWS]


def trained(folder, told, **training):
    """Return weights, log and random state after a small training with dropout and EMA of none."""
    import torch
    from datasets import Dataset

    trainer = small_trainer(folder, ROWS, neftune_noise_alpha=5.0, **training)
    trainer.eval_dataset = Dataset.from_list(ROWS[:3])
    trainer.model.config.attention_dropout = 0.2
    for layer in trainer.model.model.layers:
        layer.self_attn.attention_dropout = 0.2
    rehearsal = Rehearsal(told, "full")
    rehearsal.trainer = trainer
    trainer.callback_handler.callbacks.insert(0, rehearsal)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    trainer.train()
    drawn = random.random(), np.random.rand(), torch.rand(1).item()
    logs = [
        {k: v for k, v in one.items() if "runtime" not in k and "per_second" not in k}
        for one in trainer.state.log_history
    ]
    weights = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    return weights, logs, drawn, rehearsal


@pytest.mark.parametrize("training", [{}, {"gradient_accumulation_steps": 2, "weight_decay": 0.1}])
def test_everything_is_as_if_it_had_not_been(tmp_path, training):
    import torch

    plain = trained(tmp_path / "plain", {**TOLD, "check": False}, **training)
    rehearsed = trained(tmp_path / "rehearsed", TOLD, **training)
    assert plain[3].longest is None
    # of the four steps to come, of two batches of two rows each where batches are accumulated
    assert rehearsed[3].longest == {"rows": 2, "tokens": 12 if training else 10}
    for name, weight in plain[0].items():
        assert torch.equal(weight, rehearsed[0][name]), name
    assert plain[1:3] == rehearsed[1:3]
    assert not (tmp_path / "rehearsed" / SAVED).exists()
    rehearsed[3].keep(tmp_path)
    told = json.loads((tmp_path / "memory.json").read_text())
    assert told.pop("peak_bytes") >= 0  # 0 where the process had room enough before
    assert told == {"estimate": None, "longest_batch": rehearsed[3].longest}


def test_moments_are_made_without_a_trace():
    """Minus zero too stays what it is, and what the rate was."""
    import torch
    from transformers.optimization import Adafactor

    from sftflow.rehearsal import moments_of_zero

    weight = torch.nn.Parameter(torch.tensor([[-0.0, 0.0, 1e-30, -3.5]]))
    before = weight.detach().clone().view(torch.int32)
    fixed = {"scale_parameter": False, "relative_step": False}
    for kind, options, kept in (
        (torch.optim.AdamW, {"fused": False}, {"step", "exp_avg", "exp_avg_sq"}),
        (torch.optim.AdamW, {"fused": True}, {"step", "exp_avg", "exp_avg_sq"}),
        (Adafactor, fixed, {"step", "exp_avg_sq_row", "exp_avg_sq_col", "RMS"}),
    ):
        optimizer = kind([weight], lr=0.3, weight_decay=0.1, **options)
        with moments_of_zero(optimizer, with_gradients=False):
            assert set(optimizer.state[weight]) == kept
            assert weight.grad is None
        assert torch.equal(weight.detach().view(torch.int32), before)
        assert not optimizer.state
        (group,) = optimizer.param_groups
        assert (group["lr"], group["weight_decay"]) == (0.3, 0.1)


def test_moments_that_were_loaded_stay():
    import torch

    from sftflow.rehearsal import moments_of_zero

    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.ones(3)
    optimizer.step()
    before = {k: v.clone() for k, v in optimizer.state[weight].items()}
    with moments_of_zero(optimizer, with_gradients=True):
        assert weight.grad.tolist() == [0, 0, 0]
    for name, value in before.items():
        assert torch.equal(optimizer.state[weight][name], value)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("train", r"the longest batch \(2 rows, 10 tokens with padding\), tried before"),
        ("eval", r"the longest validation batch \(2 rows, 6 tokens\), tried before the training"),
        ("save", "the first checkpoint, tried before"),
    ],
)
def test_what_did_not_fit_is_named_with_what_would(tmp_path, monkeypatch, at, said):
    import torch
    from datasets import Dataset

    def full(*_args, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    trainer = small_trainer(tmp_path, ROWS)
    trainer.eval_dataset = Dataset.from_list(ROWS[:3])
    rehearsal = Rehearsal(TOLD, "full")
    rehearsal.trainer = trainer
    trainer.callback_handler.callbacks.insert(0, rehearsal)
    loss = trainer.compute_loss
    if at == "save":
        monkeypatch.setattr(trainer, "save_model", full)
    else:
        monkeypatch.setattr(
            trainer,
            "compute_loss",
            lambda model, *a, **k: (
                full() if model.training == (at == "train") else loss(model, *a, **k)
            ),
        )
    with pytest.raises(StageError, match=said) as caught:
        trainer.train()
    told = str(caught.value)
    assert "GiB were in use; set training.per_device_train_batch_size to 1 and gradient_acc" in told
    assert "gradient_accumulation_steps to 2, set training.gradient_checkpointing to true" in told
    assert "use method lora, use method qlora on a GPU, or take a device with more memory" in told


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (MemoryError(), True),
        (RuntimeError("shape '[2]' is invalid for input of size 3"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_faults(error, expected):
    assert is_lack_of_memory(error) is expected


def test_the_longest_batch_is_that_of_most_computed_tokens():
    lengths = [9, 1, 5, 5, 2, 2]
    order = [np.array(rows) for rows in ([0, 1], [2, 3], [4, 5])]
    assert longest_batch(order, lengths, packed=False) == ([0, 1], 18)  # 2 x 9, padded
    assert longest_batch(order, lengths, packed=True) == ([0, 1], 10)  # 9 + 1, first of equals
    assert longest_batch(order[1:], lengths, packed=True) == ([2, 3], 10)


def test_batches_are_those_of_the_steps_to_come():
    """Five rows, two a batch, four a step: an epoch has two steps, the last a smaller one."""
    found = [rows.tolist() for rows in batches(range(5), group=4, batch=2, steps=3)]
    assert found == [[0, 1], [2, 3], [4], [0, 1], [2, 3]]
