"""Answers in the middle of a training: what is asked, what is chosen by it, and that it disturbs
nothing."""

import json
import os
import sys
from types import ModuleType

import pytest
import torch
from chat_fixture import shipped
from datasets import Dataset
from test_trainer import TRAINING
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from sftflow.bestcheckpoint import Best
from sftflow.continuations import continuations
from sftflow.evalgeneration import (
    EvalGeneration,
    Question,
    gathered,
    last_answer,
    prepared,
    prompt_questions,
    validation_questions,
)
from sftflow.history import history_rows
from sftflow.packing import packed_rows
from sftflow.stage import StageError
from sftflow.stopping import EarlyStopping
from sftflow.trainer import MaskedTrainer
from sftflow.training import Schedule, trainer_settings

ANSWERING = {
    **TRAINING,
    "neftune_noise_alpha": 5,  # draws random numbers at every step
    "eval_generation": {"rows": 3, "prompts": 2, "max_new_tokens": 6, "metrics": None},
}
END = "<|im_end|>"


@pytest.fixture(scope="module")
def tokenizer():
    return shipped("chatml")


def model_of(tokenizer):
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 1}
    torch.manual_seed(0)
    config = LlamaConfig(**sizes, vocab_size=len(tokenizer), max_position_embeddings=64)
    return LlamaForCausalLM(config)


def row(tokenizer, number, answer="yes"):
    """Return a templated row of two turns whose answers carry loss."""
    end = tokenizer.convert_tokens_to_ids(END)
    ids, labels = [], []
    for text in (f"question {number}", f"and {number * 7}"):
        asked = tokenizer(f"<|im_start|>user\n{text}{END}\n<|im_start|>assistant\n").input_ids
        said = [*tokenizer(answer).input_ids, end]
        ids += asked + said
        labels += [-100] * len(asked) + said
    return {"id": f"row-{number}", "input_ids": ids, "labels": labels, "length": len(ids)}


@pytest.fixture(scope="module")
def rows(tokenizer):
    return [row(tokenizer, n) for n in range(8)]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    lines = [{"messages": [{"role": "user", "content": f"你好 {n}"}]} for n in range(3)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def trainer_of(folder, tokenizer, rows, **training):
    """Return a trainer of four steps that is evaluated after each."""
    settings = {**ANSWERING, **training}
    model, plan = model_of(tokenizer), Schedule(4, 4, 1, 1, 0, 1)
    packed = settings["batching"] == "packed"
    trainer = MaskedTrainer(
        model=model,
        args=trainer_settings(settings, plan, folder, "float32", True),
        data_collator=packed_rows(model, tokenizer, "small") if packed else None,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:5]),
        processing_class=tokenizer,
    )
    trainer.batching = settings["batching"]
    return trainer


def answering(folder, tokenizer, rows, prompts, **training):
    trainer = trainer_of(folder, tokenizer, rows, **training)
    end = tokenizer.convert_tokens_to_ids(END)
    settings = {**ANSWERING, **training}
    trainer.generation = prepared(trainer, settings, prompts, folder / "samples", end)
    return trainer


def weights(trainer):
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def history(trainer):
    """Return the table of a training, with the scores of its answers."""
    scores = [f"eval_{name}" for name in trainer.generation.metrics]
    return history_rows(trainer.state.log_history, dict(zip(scores, scores, strict=True)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tokenizer, rows, prompts):
    """Return a training that answered at each step, at its end."""
    trainer = answering(tmp_path_factory.mktemp("finished"), tokenizer, rows, prompts)
    trainer.train()
    return trainer


def test_answers_change_no_weight(tmp_path, finished, tokenizer, rows):
    plain = trainer_of(tmp_path, tokenizer, rows)
    plain.train()
    assert same(weights(plain), weights(finished))
    assert not same(weights(plain), {n: p + 0.1 for n, p in weights(plain).items()})


class Recorder:
    """What TensorBoard's writer is told."""

    told: list = []  # noqa: RUF012 - of all writers

    def __init__(self, log_dir):
        self.folder = log_dir

    def add_scalar(self, name, value, step):
        self.told.append((self.folder, step, name, value))

    def __getattr__(self, _name):
        return lambda *_args, **_kwargs: None


def test_a_tracker_is_told_what_was_measured_and_changes_no_weight(
    tmp_path, monkeypatch, finished, tokenizer, rows, prompts
):
    from transformers.integrations import integration_utils

    from sftflow import trackers

    monkeypatch.setattr(os, "environ", dict(os.environ))
    board = ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = Recorder
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.setattr(integration_utils, "is_tensorboard_available", lambda: True)
    trainer = answering(tmp_path / "run", tokenizer, rows, prompts)
    args, names = trainer.args, ["tensorboard"]
    trackers.report_to(args, names, tmp_path / "trackers", "r", "0123456789abcdef")
    for callback in integration_utils.get_reporting_integration_callbacks(args.report_to):
        trainer.add_callback(callback)
    trainer.train()
    assert same(weights(trainer), weights(finished))
    told = {(step, name): value for _, step, name, value in Recorder.told}
    assert {folder for folder, *_ in Recorder.told} == {
        str(tmp_path / "trackers/tensorboard/r-01234567")
    }
    for entry in trainer.state.log_history:
        for name in ("loss", "learning_rate"):
            assert name not in entry or told[entry["step"], f"train/{name}"] == entry[name]
        for name in ("eval_loss", "eval_ended"):
            logged = name.replace("_", "/", 1)
            assert name not in entry or told[entry["step"], logged] == entry[name]


def test_packed_batches_answer_too(tmp_path, tokenizer, rows, prompts):
    trainer = answering(tmp_path, tokenizer, rows, prompts, batching="packed")
    trainer.train()
    assert len(gathered(tmp_path / "samples").splitlines()) == 4 * 5


def test_each_evaluation_leaves_its_answers_and_scores(finished):
    said = [json.loads(line) for line in gathered(finished.generation.folder).splitlines()]
    assert [row["step"] for row in said] == [step for step in (1, 2, 3, 4) for _ in range(5)]
    assert [row["set"] for row in said[:5]] == ["validation"] * 3 + ["prompts"] * 2
    assert len({row["id"] for row in said if row["set"] == "validation"}) == 3
    assert {row["reference"] for row in said[:3]} == {"yes"}
    assert all(1 <= row["completion_tokens"] <= 6 for row in said)
    for entry in history(finished):
        ended = [row["finish_reason"] == "stop" for row in said if row["step"] == entry["step"]]
        assert entry["eval_ended"] == pytest.approx(sum(ended[:3]) / 3)
    assert {"accuracy", "exact_match"} & set(finished.generation.metrics)


class Stop(TrainerCallback):
    def on_step_begin(self, _args, state, _control, **_kwargs):
        if state.global_step == 2:
            raise KeyboardInterrupt


def test_a_resumed_training_leaves_the_same(tmp_path, finished, tokenizer, rows, prompts):
    killed = answering(tmp_path, tokenizer, rows, prompts)
    killed.add_callback(Stop())
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed = answering(tmp_path, tokenizer, rows, prompts)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert same(weights(resumed), weights(finished))
    assert gathered(tmp_path / "samples") == gathered(finished.generation.folder)
    assert history(resumed) == history(finished)
    assert resumed.state.best_global_step == finished.state.best_global_step


class Scripted:
    """Scores as they are told, one per evaluation."""

    metrics = ("f1_macro",)

    def __init__(self, *scores):
        self.scores = iter(scores)

    def evaluate(self, _trainer):
        return {"eval_f1_macro": next(self.scores)}


@pytest.mark.parametrize(
    ("scores", "best"), [((0.1, 0.9, 0.9, 0.2), (2, 3)), ((0.5, 0.1, 0.2, 0.3), (1,))]
)
def test_the_checkpoint_of_the_best_score_is_kept(tmp_path, tokenizer, rows, scores, best):
    trainer = trainer_of(tmp_path, tokenizer, rows)
    trainer.best, trainer.generation = Best("f1_macro", greater_is_better=True), Scripted(*scores)
    trainer.train()
    losses = {e["step"]: e["eval_loss"] for e in trainer.state.log_history if "eval_loss" in e}
    expected = min(best, key=lambda step: (losses[step], step))
    assert trainer.state.best_global_step == expected
    assert trainer.state.best_metric == max(scores)
    kept = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert kept == [f"checkpoint-{step}" for step in (expected, 4)]
    last = weights(trainer)
    trainer.load_best()
    assert not same(weights(trainer), last)


def test_a_score_that_does_not_rise_ends_the_training(tmp_path, tokenizer, rows):
    trainer = trainer_of(tmp_path, tokenizer, rows)
    trainer.best = Best("f1_macro", greater_is_better=True)
    trainer.generation = Scripted(0.5, 0.1, 0.4, 0.9)
    trainer.add_callback(EarlyStopping(2, trainer.best))
    trainer.train()
    assert (trainer.state.global_step, trainer.state.best_global_step) == (3, 1)


def test_a_metric_that_says_nothing_can_not_choose(tokenizer, tmp_path):
    best = {"metric_for_best_model": "repetition", "greater_is_better": False}
    asked = [Question("validation", "a", [1], "yes")]
    generation = EvalGeneration(asked, tokenizer, {2}, {**ANSWERING, **best}, tmp_path)
    said = {"set": "validation", "answer": "no", "reference": "yes", "finish_reason": "stop"}
    with pytest.raises(StageError, match="repetition says nothing about the 1 answers at step 7"):
        generation._scores([{**said, "completion_tokens": 1}], 7)


def test_a_batch_says_what_each_prompt_alone_says(tokenizer):
    model = model_of(tokenizer)
    model.generation_config.repetition_penalty = 5.0  # of the model's folder; must not count
    draw = torch.Generator().manual_seed(1)
    lengths = [3, 11, 7, 3, 20]
    asked = [torch.randint(9, 200, (n,), generator=draw).tolist() for n in lengths]
    alone = [continuations(model, [one], {1}, 12, 0, 1)[0] for one in asked]
    ends = {alone[1].ids[4]}  # so that some answer ends
    for size in (1, 2, 5):
        told = continuations(model, asked, ends, 12, 0, size)
        for one, prompt in zip(told, asked, strict=True):
            assert one.ids == greedy(model, prompt, ends, 12)
            assert one.ended is (len(one.ids) < 12)
    assert told[1].ended


def greedy(model, prompt, ends, most):
    """Return the likeliest tokens one by one, without cache or padding."""
    ids, model = list(prompt), model.eval()
    for _ in range(most):
        with torch.no_grad():
            new = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        if new in ends:
            break
        ids.append(new)
    return ids[len(prompt) :]


def test_nothing_is_left_changed_by_answering(tokenizer):
    model = model_of(tokenizer).train()
    before, dropping = torch.get_rng_state(), []
    model.register_forward_hook(lambda module, *_: dropping.append(module.training))
    continuations(model, [[5, 6, 7]], {1}, 4, 0, 1)
    assert model.training and not any(dropping)
    assert torch.equal(before, torch.get_rng_state())


def test_the_last_answer_is_asked_for(tokenizer):
    one, end = row(tokenizer, 3, "good"), tokenizer.convert_tokens_to_ids(END)
    before, said = last_answer(one, {end})
    assert tokenizer.decode(said) == "good"
    assert [*before, *said, end] == one["input_ids"]
    assert tokenizer.decode(before).count("good") == 1  # the first answer is part of the prompt
    cut = {key: one[key][:-1] for key in ("input_ids", "labels")}
    assert last_answer(cut, {end}) is None


def test_the_same_rows_are_asked_whatever_their_order(tokenizer, rows):
    end = {tokenizer.convert_tokens_to_ids(END)}
    asked = validation_questions(rows, 3, tokenizer, end, 60)
    assert asked == validation_questions(rows[::-1], 3, tokenizer, end, 60)
    assert {q.id for q in asked} <= {
        q.id for q in validation_questions(rows, 4, tokenizer, end, 60)
    }
    with pytest.raises(StageError, match="no validation row can be answered: each is cut off, or"):
        validation_questions(rows, 3, tokenizer, end, 2)


def test_fixed_prompts_are_asked_in_the_chat_template(tokenizer, prompts):
    first, second = prompt_questions(prompts, 2, tokenizer, 60)
    text = tokenizer.decode(first.ids)
    assert text.endswith("<|im_start|>assistant\n")
    assert "你好 0" in text and "你好 1" in tokenizer.decode(second.ids)
    with pytest.raises(StageError, match=r"prompts\.jsonl: prompt \w+ has \d+ tokens and leaves"):
        prompt_questions(prompts, 2, tokenizer, 3)
