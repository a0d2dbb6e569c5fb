"""The real stages template_data, train_adapter and merge_adapter on a very small model."""

import json
import re
import shutil
import signal
import time

import pytest
import training_fixture as toy
from ranks import Ranks

from sftflow.manifests import read_manifest

pytestmark = pytest.mark.e2e

ASKED = {"rows": 6, "prompts": 1, "max_new_tokens": 8, "metrics": ["json_fields"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a work folder with dataset, base, tokens and the finished run ``r``."""
    folder = tmp_path_factory.mktemp("training")
    toy.write_dataset(folder / "results/datasets/toy")
    toy.write_base(folder / "results/models/tiny")
    toy.template(folder)
    toy.train(folder)
    return folder


def test_what_a_run_leaves(folder):
    run = folder / "results/runs/r"
    manifest = read_manifest(run / "manifest.json")
    assert manifest["counts"]["steps"] == 18  # ceil(96 / 16) = 6 per epoch, 3 epochs
    assert toy.steps_of_history(folder, "r") == list(range(1, 19))
    assert manifest["counts"]["best_eval_loss"] < 5.9  # ln(400) = 5.99: better than guessing
    assert sorted(p.name for p in (run / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert [p.name for p in sorted((run / "samples").iterdir())] == [
        f"step-{step:06d}.jsonl" for step in (6, 12, 18)
    ]
    answers = (run / "samples/step-000018.jsonl").read_text().splitlines()
    assert set(json.loads(answers[0])) == {"prompt", "reference", "answer", "ended"}
    assert not list(run.rglob("training_args.bin"))
    assert str(folder) not in (run / "manifest.json").read_text()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(folder):
    toy.train(folder, run="same")
    toy.train(folder, run="other", training__seed=1)
    adapter = [line for line in toy.sums(folder, "r").splitlines() if "safetensors" in line]
    assert toy.sums(folder, "same") == toy.sums(folder, "r")
    assert adapter[0] not in toy.sums(folder, "other")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_ends_with_the_same_bytes(folder, number):
    name = f"killed{int(number)}"
    process = toy.kill_at_checkpoint(folder, toy.changed(toy.SPEC, run=name), 6, number)
    assert process.returncode == (1 if number == signal.SIGTERM else -9)
    assert not (folder / f"results/runs/{name}/manifest.json").exists()
    assert "continuing from checkpoint-" in toy.train(folder, run=name)
    assert toy.sums(folder, name) == toy.sums(folder, "r")


@pytest.mark.parametrize("damage", ["optimizer.pt", "COMPLETE.json", "adapter_model.safetensors"])
def test_a_damaged_checkpoint_is_passed_over(folder, damage):
    name = f"damaged-{damage.split('.')[0].lower()}"
    toy.kill_at_checkpoint(folder, toy.changed(toy.SPEC, run=name), 9)
    newest = max(
        (folder / f"results/runs/{name}/checkpoints").glob("*/checkpoint-*/COMPLETE.json"),
        key=lambda seal: int(seal.parent.name.split("-")[1]),
    ).parent
    victim = newest / damage
    victim.write_bytes(victim.read_bytes()[:-7])
    said = toy.train(folder, run=name)
    assert f"{newest.name} is not used" in said
    assert toy.sums(folder, name) == toy.sums(folder, "r")


def test_a_finished_run_is_put_back_without_training(folder):
    toy.train(folder, run="again")
    run = folder / "results/runs/again"
    shutil.rmtree(run / "adapter")
    shutil.rmtree(run / "samples")
    for name in ("history.csv", "manifest.json", "SHA256SUMS"):
        (run / name).unlink()
    assert "continuing from checkpoint-18" in toy.train(folder, run="again")
    assert toy.sums(folder, "again") == toy.sums(folder, "r")


def test_a_finished_run_of_so_many_steps_takes_no_step_more(folder):
    limited = {"training__max_steps": 4, "training__save_steps": 2, "training__eval_steps": 2}
    toy.train(folder, run="limited", **limited)
    before = toy.sums(folder, "limited")
    (folder / "results/runs/limited/SHA256SUMS").unlink()
    toy.train(folder, run="limited", **limited)
    assert toy.sums(folder, "limited") == before


def test_without_validation_rows(tmp_path):
    toy.write_dataset(tmp_path / "results/datasets/toy", validation=0)
    toy.write_base(tmp_path / "results/models/tiny")
    toy.template(tmp_path)
    toy.train(tmp_path, training__save_steps=None)
    counts = read_manifest(tmp_path / "results/runs/r/manifest.json")["counts"]
    assert (counts["best_eval_loss"], counts["kept_step"]) == (None, 18)  # no data is not 0
    samples = tmp_path / "results/runs/r/samples"
    assert [p.name for p in samples.iterdir()] == ["step-000018.jsonl"]
    toy.finish(toy.start(tmp_path, toy.merging("r")))


def test_changed_settings_never_continue_an_old_training(folder):
    toy.kill_at_checkpoint(folder, toy.changed(toy.SPEC, run="changed"), 6)
    said = toy.train(folder, run="changed", training__learning_rate=1e-3)
    assert "continuing" not in said
    assert len(list((folder / "results/runs/changed/checkpoints").iterdir())) == 1


def test_faults_end_with_a_sentence(folder, tmp_path):
    said = toy.train(folder, 1, run="f", lora__target_modules=["q_proj", "qq_proj"])
    assert "'qq_proj' matches nothing in tiny; it has down_proj" in said
    said = toy.train(folder, 1, run="f", method="qlora")
    assert "method: qlora needs" in said
    other = folder / "results/models/other"
    shutil.copytree(folder / "results/models/tiny", other)
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.rstrip() + "\n")
    said = toy.train(folder, 1, run="f", model="results/models/other")
    assert "tokenizer of other changed since templating" in said
    assert not (folder / "results/runs/f/adapter").exists()


def test_a_broken_start_model_is_named_with_the_weight(folder):
    import safetensors.torch

    broken = folder / "results/models/broken"
    shutil.copytree(folder / "results/models/tiny", broken)
    weights = safetensors.torch.load_file(broken / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = float("nan")
    safetensors.torch.save_file(weights, broken / "model.safetensors", {"format": "pt"})
    toy.vouch(broken)
    said = toy.train(folder, 1, run="nan", model="results/models/broken")
    assert "loss is nan at step 1" in said
    assert "start model's weight model.layers.0.mlp.up_proj.weight is nan" in said


def test_a_diverging_training_is_stopped_with_its_batch(folder):
    import pyarrow.parquet as pq
    import safetensors.torch

    wild = {"training__learning_rate": 1e30, "training__save_steps": 1}
    said = toy.train(folder, 1, run="wild", **wild)
    (line,) = [one for one in said.splitlines() if "] error: the " in one]
    assert "Traceback" not in said
    found = re.search(r"is (nan|inf) at step (\d+) \(learning rate (\S+)\), in a batch of", line)
    step = int(found[2])
    assert 1 < step < 18 and float(found[3]) > 1e29
    rows = pq.read_table(folder / toy.TEMPLATED / "train.parquet").column("id").to_pylist()
    named = re.findall(r"[0-9a-f]{16}", line)
    assert 1 <= len(set(named) & set(rows)) == len(set(named)) <= 8  # a batch has eight rows
    assert "lower training.learning_rate" in line
    (kept,) = (folder / "results/runs/wild/checkpoints").glob(f"*/checkpoint-{step - 1}")
    assert f"; {kept.name} is kept" in line
    weights = safetensors.torch.load_file(kept / "adapter_model.safetensors")
    assert all(weight.isfinite().all() for weight in weights.values())
    assert not (folder / "results/runs/wild/adapter").exists()


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_a_merge_is_proven_and_loads(folder, dtype):
    from transformers import AutoModelForCausalLM

    name = f"merged-{dtype}"
    toy.finish(toy.start(folder, toy.merging("r", dtype=dtype, name=name)))
    model = folder / "results/models" / name
    proof = read_manifest(model / "manifest.json")["proof"]
    assert proof["merged"]["max_logit_difference"] < (1e-4 if dtype == "auto" else 0.2)
    assert proof["tuned"]["max_logit_difference"] > 10 * proof["merged"]["max_logit_difference"]
    base = folder / "results/models/tiny"
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (model / file).read_bytes() == (base / file).read_bytes()
    loaded = AutoModelForCausalLM.from_pretrained(model)
    assert str(loaded.dtype) == ("torch.float32" if dtype == "auto" else "torch.bfloat16")
    assert not list(model.parent.glob(".*"))


def test_a_merge_with_another_base_is_refused(folder):
    base = folder / "results/models/second"
    toy.write_base(base, seed=1)
    said = toy.finish(toy.start(folder, toy.merging("r", base="second", name="wrong")), 1)
    assert "r was trained on base" in said
    assert not (folder / "results/models/wrong").exists()


def test_all_weights_can_be_trained(folder):
    toy.train(folder, run="full", method="full", training__load_best_model_at_end=False)
    toy.finish(toy.start(folder, toy.merging("full", method="full")))
    manifest = read_manifest(folder / "results/runs/full/manifest.json")
    assert manifest["counts"]["trainable_parameters"] == manifest["counts"]["parameters"]
    proof = read_manifest(folder / "results/models/full/manifest.json")["proof"]
    assert proof["merged"]["max_logit_difference"] == 0
    assert proof["trained"]["max_logit_difference"] > 0.1


def test_two_processes_share_a_training_and_its_answers(folder):
    launch = {"num_processes": 2, "strategy": "ddp"}
    prompt = {"messages": [{"role": "user", "content": "My lamp is broken."}]}
    (folder / "prompts.jsonl").write_text(json.dumps(prompt) + "\n")
    changed = {
        "training__gradient_accumulation_steps": 1,
        "training__eval_generation": ASKED,
        "training__metric_for_best_model": "json_fields",
        "training__greater_is_better": True,
    }
    spec = toy.changed(toy.SPEC, run="two", launch=launch, prompts="prompts.jsonl", **changed)
    ranks = Ranks(folder, toy.training(spec), spec)
    assert ranks.wait() == [0, 0], ranks.said()
    said = ranks.said()
    assert said.count("] 18/18 steps") == 1  # the first process alone speaks
    manifest = read_manifest(folder / "results/runs/two/manifest.json")
    assert manifest["processes"] == 2
    alone = read_manifest(folder / "results/runs/r/manifest.json")
    assert manifest["counts"]["tokens"] == alone["counts"]["tokens"]
    lines = (folder / "results/runs/two/samples/answers.jsonl").read_text().splitlines()
    answers = [(a["step"], a["set"]) for a in map(json.loads, lines)]
    each = ["validation"] * 6 + ["prompts"]  # of both processes, in the order in which they stand
    assert answers == [(step, name) for step in (6, 12, 18) for name in each]
    assert manifest["counts"]["best_by"] == "json_fields"
    assert "sacrebleu" in manifest["versions"] and "sacrebleu" not in alone["versions"]


def test_the_processes_of_a_training_end_with_who_started_them(folder):
    """The stage and accelerate's launcher are both killed, so nobody tells the workers."""
    import psutil

    launch = {"num_processes": 2, "strategy": "ddp"}
    spec = toy.changed(toy.SPEC, run="orphans", launch=launch, training__num_train_epochs=300)
    process = toy.start(folder, toy.training(spec))
    parent = psutil.Process(process.pid)
    while len(children := parent.children(recursive=True)) < 3:  # launcher and two workers
        assert process.poll() is None
        time.sleep(0.05)
    (launcher,) = parent.children()
    process.send_signal(signal.SIGKILL)
    launcher.kill()
    process.wait(60)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
