"""DPO for real on the very small model: tokens, reference, course, resume, merge; one process."""

import csv
import json
import random
from pathlib import Path

import plain_trl
import pytest
import training_fixture as toy
from ranks import Ranks
from test_methods import Killed, options

from sftflow.configschema import fill_defaults, schema
from sftflow.manifests import read_manifest, write_manifest
from sftflow.records import PAIR, content_id, message, read_rows, write_table
from sftflow.stage import StageError

pytestmark = pytest.mark.e2e

TEMPLATED = "results/templated/pairs"
PAIRS = {"dataset": "pairs", "base": "tiny", "max_length": 256, "overlong": "drop", "pairs": True}
DPO = fill_defaults({}, schema()["$defs"]["dpo"])
TRAINING = {
    **toy.SPEC["training"],
    "learning_rate": 1e-2,
    "num_train_epochs": 1,
    "gradient_accumulation_steps": 2,
    "eval_steps": 2,
    "save_steps": 1,
}


def records(count, seed):
    """Yield pairs in which the short answer is preferred."""
    draw = random.Random(seed)
    for row in range(1, count + 1):
        thing = draw.choice(["phone", "lamp", "router"])
        asked = message("user", f"My {thing} is broken, order {draw.randrange(10**5)}.")
        chosen = message("assistant", json.dumps({"intent": "repair", "product": thing}))
        other = message("assistant", f"Please, please. {chosen['content']} Please.")
        said = {"messages": [asked, chosen], "tools": None, "rejected": other}
        yield {"id": content_id(said), "source": "toy", "row": row, **said}


def write_pairs(folder):
    for split, count in (("train", 64), ("validation", 12)):
        write_table(folder / f"{split}.parquet", records(count, split), PAIR)
    payloads = sorted(folder.glob("*.parquet"))
    write_manifest(folder / "manifest.json", stage="split_dataset", spec={}, payloads=payloads)


def run(stage, spec, **paths):
    """Run a stage's command line in this process."""
    line = toy.command(stage, spec, **paths)[2:]
    module = __import__(stage)
    if stage == "template_preferences":
        module.main(line, module.TemplatedPairs)
    elif stage == "train_preferences":
        module.main(line, module.PreferenceRun, module.__file__, ("preferences",))
    else:
        module.main(line)


def paths_of(name):
    """Return where a training finds what it reads, and leaves what it writes."""
    folder = f"results/runs/{name}"
    return {
        "templated": TEMPLATED,
        "model": "results/models/tiny",
        "history": f"{folder}/history.csv",
        "preferences": f"{folder}/preferences.json",
        "manifest": f"{folder}/manifest.json",
        **{part: f"{folder}/{part}" for part in ("adapter", "samples", "checkpoints")},
    }


def train(name, **settings):
    """Train the run ``name``; return its preferences.json."""
    spec = {**toy.changed(toy.SPEC, run=name), "training": TRAINING, "dpo": {**DPO}}
    for key, value in settings.items():
        spec = toy.changed(spec, **{key: value})
    if spec["method"] != "lora":
        spec = {k: v for k, v in spec.items() if k != "lora"} | options(spec["method"])
    if spec["method"] == "last_n_layers":
        spec["last_n_layers"]["n"] = 1  # of two
    run("train_preferences", spec, **paths_of(name))
    return json.loads(Path(paths_of(name)["preferences"]).read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a work folder with a base and templated pairs; it is the current one."""
    folder = tmp_path_factory.mktemp("preferences")
    with toy.in_process(folder):
        write_pairs(Path("results/datasets/pairs"))
        toy.write_base(Path("results/models/tiny"))
        run(
            "template_preferences",
            PAIRS,
            dataset="results/datasets/pairs",
            model="results/models/tiny",
            **{n: f"{TEMPLATED}/{n}.parquet" for n in ("train", "validation")},
            manifest=f"{TEMPLATED}/manifest.json",
            preview=f"{TEMPLATED}/preview.html",
        )
        yield folder


@pytest.fixture(scope="module")
def measured(folder):
    """Return preferences.json of a run of LoRA."""
    return train("one")


def course(name):
    with Path(f"results/runs/{name}/history.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_policy_begins_as_its_reference_and_learns_what_is_preferred(measured):
    rows = course("one")
    assert len(rows) == 4  # 64 pairs, 16 a step
    assert float(rows[0]["loss"]) == pytest.approx(0.6931472, abs=1e-6)
    assert float(rows[0]["reward_margin"]) == 0
    assert float(rows[-1]["loss"]) < 0.65
    assert [row["step"] for row in rows if row["eval_loss"]] == ["2", "4"]
    assert measured["pairs"] == measured["reward_accuracy"]["n"] == 12
    assert measured["reward_accuracy"]["value"] == 1
    assert measured["reward_margin"]["value"] > 0.2


def test_what_is_measured_pair_by_pair_is_what_the_trainer_logged(measured):
    last = [row for row in course("one") if row["eval_loss"]][-1]
    assert read_manifest("results/runs/one/manifest.json")["counts"]["kept_step"] == 4
    for name in ("reward_accuracy", "reward_margin", "chosen_reward", "rejected_reward"):
        assert measured[name]["value"] == pytest.approx(float(last[f"eval_{name}"]), abs=1e-5)


def test_rewards_are_those_of_an_independent_computation(measured):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained("results/models/tiny")
    model = PeftModel.from_pretrained(model, "results/runs/one/adapter").eval()

    def log_prob(prompt, answer):
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            said = model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        return said.gather(1, ids[0, len(prompt) :, None]).sum().item()

    margins = []
    for row in read_rows(f"{TEMPLATED}/validation.parquet"):
        prompt = row["input_ids"][: row["answer_start"]]
        chosen = row["input_ids"][row["answer_start"] :]
        sides = [log_prob(prompt, answer) for answer in (chosen, row["rejected_ids"])]
        with model.disable_adapter():
            before = [log_prob(prompt, answer) for answer in (chosen, row["rejected_ids"])]
        margins.append(0.1 * ((sides[0] - before[0]) - (sides[1] - before[1])))
    assert sum(margins) / len(margins) == pytest.approx(
        measured["reward_margin"]["value"], abs=1e-4
    )


def test_a_training_is_that_of_plain_trl_to_the_bit(measured):
    from safetensors.torch import load_file

    spec = {**toy.SPEC, "training": TRAINING, "dpo": DPO}
    log, weights = plain_trl.preferring(spec, f"{TEMPLATED}/train.parquet", steps=4)
    names = {"loss": "loss", "grad_norm": "grad_norm", "reward_margin": "rewards/margins"}
    names |= {"chosen_reward": "rewards/chosen", "reward_accuracy": "rewards/accuracies"}
    for ours, theirs in names.items():
        assert [float(row[ours]) for row in course("one")] == [entry[theirs] for entry in log], ours
    kept = load_file("results/runs/one/adapter/adapter_model.safetensors")
    assert all(kept[name].equal(weights[name]) for name in kept)


def test_tokens_are_ours_and_not_those_of_a_second_rendering(folder):
    from transformers import AutoTokenizer

    from sftflow import preferencetrainer

    rows = list(read_rows(f"{TEMPLATED}/train.parquet"))
    tokenizer = AutoTokenizer.from_pretrained("results/models/tiny")
    batch = preferencetrainer.PairCollator(tokenizer.pad_token_id)(rows[:3])
    for at, row in enumerate(rows[:3]):
        for place, (whole, answer) in zip(
            (at, at + 3), preferencetrainer.sequences(row), strict=True
        ):
            ids = batch["input_ids"][place]
            assert ids[batch["attention_mask"][place] == 1].tolist() == whole
            assert ids[batch["completion_mask"][place] == 1].tolist() == answer
            assert tokenizer.decode(answer).endswith("<|im_end|>")


def test_two_processes_measure_each_pair_once(folder, measured):
    """12 validation pairs, 8 at a time: the second process has half a batch."""
    launch = {"num_processes": 2, "strategy": "ddp"}
    spec = {**toy.changed(toy.SPEC, run="two"), "training": TRAINING, "dpo": {**DPO}}
    spec = toy.changed(spec, launch=launch, training__gradient_accumulation_steps=1)
    ranks = Ranks(folder, toy.command("train_preferences", spec, **paths_of("two")), spec)
    assert ranks.wait() == [0, 0], ranks.said()
    mine, theirs = course("one"), course("two")
    assert len(mine) == len(theirs) == 4
    for row, other in zip(mine, theirs, strict=True):
        for name in ("loss", "eval_loss", "eval_reward_margin", "eval_chosen_reward"):
            assert float(other[name] or 0) == pytest.approx(float(row[name] or 0), abs=1e-5)
    told = json.loads(Path(paths_of("two")["preferences"]).read_text())
    assert told["pairs"] == 12
    for name, value in told["reward_margin"].items():
        assert value == pytest.approx(measured["reward_margin"][name], abs=1e-5)


def test_a_trainer_that_takes_other_tokens_is_stopped(folder, monkeypatch):
    from sftflow import preferencetrainer

    class OneLess(preferencetrainer.PairCollator):
        def __call__(self, rows):
            return super().__call__([{**r, "rejected_ids": r["rejected_ids"][:-1]} for r in rows])

    monkeypatch.setattr(preferencetrainer, "PairCollator", OneLess)
    with pytest.raises(StageError, match="does not hold the tokens of the templated pairs"):
        train("less")


def test_a_policy_that_is_not_its_reference_is_stopped(folder, monkeypatch):
    import torch

    from sftflow import training

    def reference(*args, start_model=training.start_model):
        model = start_model(*args)
        with torch.no_grad():
            model.model.norm.weight.mul_(3.0)
        return model

    monkeypatch.setattr(training, "start_model", reference)  # runtrainer loads the policy
    with pytest.raises(StageError, match="policy and reference are the same model: they are not"):
        train("other", method="full")


def test_a_killed_run_ends_with_the_same_bytes(measured, monkeypatch):
    from sftflow import trainer

    def seal(checkpoint, seal=trainer.seal):
        seal(checkpoint)
        if checkpoint.name == "checkpoint-2":
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "seal", seal)
        with pytest.raises(Killed):
            train("two")
    assert train("two") == measured
    assert toy.sums(Path(), "two") == toy.sums(Path(), "one")


@pytest.mark.parametrize(
    ("method", "loss", "first", "rate"),
    [
        ("full", "ipo", 25, 2e-4),  # (1 / 2 beta)^2
        ("ia3", "hinge", 1, 3e-2),
        ("bitfit", "robust", 0.6931472, 3e-3),
        ("last_n_layers", "apo_zero", 1, 2e-3),
        ("lora", "apo_down", 1, 1e-2),
        ("lora", "sigmoid_norm", 0.6931472, 1e-2),
    ],
)
def test_every_method_and_loss_begins_at_its_reference_and_learns(
    folder, method, loss, first, rate
):
    smoothing = 0.1 if loss == "robust" else 0.0
    dpo = {"dpo__loss_type": loss, "dpo__label_smoothing": smoothing}
    name = f"{method}-{loss}"
    measured = train(name, method=method, training__learning_rate=rate, **dpo)
    assert float(course(name)[0]["loss"]) == pytest.approx(first, rel=1e-5)
    assert measured["reward_margin"]["value"] > 0.001


def test_imitating_the_preferred_answers_too_makes_them_more_likely(measured):
    assert (
        train("rpo", dpo__rpo_alpha=1.0)["chosen_reward"]["value"]
        > (measured["chosen_reward"]["value"])
    )


def test_the_adapter_merges_into_the_start_model(measured):
    line = toy.merging("one")
    line[line.index("--templated") + 1] = TEMPLATED
    __import__("merge_adapter").main(line[2:])
    proof = read_manifest("results/models/one/manifest.json")["proof"]
    assert proof["merged"]["max_logit_difference"] < 1e-4
    assert proof["tuned"]["max_logit_difference"] > 0.01
