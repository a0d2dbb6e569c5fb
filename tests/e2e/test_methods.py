"""Every training method for real, on the very small model; one process imports torch once."""

import random
import shutil
import sys

import plain_trl
import pytest
import training_fixture as toy

from sftflow.configschema import fill_defaults, schema
from sftflow.manifests import read_manifest
from sftflow.methods import METHODS

pytestmark = pytest.mark.e2e

LORA = toy.SPEC["lora"]
RATES = {"prefix": 1e-2, "prompt": 3e-2, "ia3": 3e-2, "bitfit": 3e-2, "adalora": 2e-2}
VARIANTS = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "lora-plus": {"lr_ratio": 16},
    "pissa": {"init": "pissa_niter_16"},
    "olora": {"init": "olora"},
    "three-in-one": {"use_rslora": True, "init": "pissa", "lr_ratio": 4},
}
EWC = {"text": "general", "lambda": 1.0, "samples": 8}
TRAINING = {  # beside it, so that a resume is tested with these too
    "three-in-one": {"neftune_noise_alpha": 5.0, "batching": "packed"},
    "full": {"layerwise_lr_decay": 0.7, "ewc": EWC, "optim": "adafactor"},
    "last_n_layers": {"average_checkpoints": 3, "optim": "adamw_torch"},
}
OTHERS = [name for name in METHODS if name not in ("lora", "qlora")]


def options(method):
    """Return the method's options, defaults filled in, as a config gives them."""
    name = METHODS[method].options
    node = schema()["$defs"]["run"]["properties"].get(name)
    return {} if node is None else {name: fill_defaults({}, node)}


def spec_of(name):
    """Return the spec of the run ``name``: a variant of LoRA, or a method."""
    training = {**toy.SPEC["training"], "num_train_epochs": 2, **TRAINING.get(name, {})}
    texts = {"texts": {"general": "general.txt"}} if training["ewc"] else {}
    if name in VARIANTS:
        return {
            **toy.SPEC,
            **texts,
            "run": name,
            "training": training,
            "lora": {**LORA, **VARIANTS[name]},
        }
    plain = {key: value for key, value in toy.SPEC.items() if key != "lora"}
    training["learning_rate"] = RATES.get(name, 3e-3)
    spec = {**plain, **texts, "run": name, "method": name, "training": training, **options(name)}
    if name == "last_n_layers":
        spec["last_n_layers"]["n"] = 1  # of two
    if name == "adalora":
        spec["adalora"].update(init_r=6, target_r=4, interval=2)
    return spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a work folder with dataset, base and tokens; it is the current one."""
    folder = tmp_path_factory.mktemp("methods")
    with toy.in_process(folder):
        toy.write_dataset(folder / "results/datasets/toy")
        toy.write_base(folder / "results/models/tiny")
        letters = random.Random(0).choices("bcdfghjklmnpqrstvwxyz .", k=4000)
        (folder / "general.txt").write_text("".join(letters))
        run(toy.templating())
        yield folder


def run(line):
    """Run a stage's command line in this process."""
    __import__(line[1].rsplit("/", 1)[-1].removesuffix(".py"))
    stage = sys.modules[line[1].rsplit("/", 1)[-1].removesuffix(".py")]
    stage.main(line[2:])


@pytest.fixture(scope="module")
def trained(folder):
    """Return name -> manifest of a run of every method and variant."""
    manifests = {}
    for name in (*VARIANTS, *OTHERS):
        run(toy.training(spec_of(name)))
        manifests[name] = read_manifest(folder / f"results/runs/{name}/manifest.json")
    return manifests


def losses(folder, name):
    lines = (folder / f"results/runs/{name}/history.csv").read_text().splitlines()
    head = lines[0].split(",")
    rows = [dict(zip(head, line.split(","), strict=True)) for line in lines[1:]]
    return [float(row["loss"]) for row in rows], [
        float(row["eval_loss"]) for row in rows if row["eval_loss"]
    ]


@pytest.mark.parametrize("name", [*VARIANTS, *OTHERS])
def test_a_method_learns(trained, folder, name):
    counts = trained[name]["counts"]
    train, validation = losses(folder, name)
    assert len(train) == 12  # 96 rows / 16, two epochs
    assert train[-1] < train[0] - 0.01
    assert validation[-1] < validation[0]
    assert (counts["trainable_parameters"] == counts["parameters"]) == (name == "full")
    saved = {p.name for p in (folder / f"results/runs/{name}/adapter").iterdir()}
    plain = METHODS[trained[name]["settings"]["method"]].plain
    assert ("model.safetensors" in saved) == plain
    assert ("adapter_model.safetensors" in saved) != plain
    assert (
        str(folder)
        not in (folder / f"results/runs/{name}/adapter")
        .joinpath("config.json" if plain else "adapter_config.json")
        .read_text()
    )


def test_a_training_is_that_of_plain_trl_to_the_bit(trained, folder):
    """Tokens, masks, losses, gradients, rates and weights, with dropout and accumulated batches."""
    from safetensors.torch import load_file

    rows = (f"{toy.TEMPLATED}/train.parquet", "results/datasets/toy/train.parquet")
    log, weights, same = plain_trl.supervised(spec_of("lora"), *rows, steps=12)
    assert same and all(same)
    lines = (folder / "results/runs/lora/history.csv").read_text().splitlines()
    ours = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    for key in ("loss", "learning_rate", "grad_norm"):
        assert [float(row[key]) for row in ours] == [entry[key] for entry in log], key
    kept = load_file(folder / "results/runs/lora/adapter/adapter_model.safetensors")
    assert trained["lora"]["counts"]["kept_step"] == 12  # the best is the last
    assert set(kept) == set(weights)
    assert all(kept[name].equal(weights[name]) for name in kept)


@pytest.mark.parametrize("name", [*VARIANTS, *(n for n in OTHERS if METHODS[n].merges)])
def test_what_merges_is_proven(trained, folder, name):
    run(toy.merging(name, method=trained[name]["settings"]["method"]))
    proof = read_manifest(folder / f"results/models/{name}/manifest.json")["proof"]
    assert proof["merged"]["max_logit_difference"] < 1e-4
    assert proof["tuned"]["max_logit_difference"] > 0.01


def test_tensorboard_has_the_course_and_no_weight_differs(trained, folder):
    spec = {**spec_of("lora"), "run": "told"}
    run([*toy.training(spec), "--report-to", "tensorboard"])
    (events,) = (folder / "results/trackers/tensorboard").glob("told-*/events.out.tfevents.*")
    told = events.read_bytes()
    assert b"train/loss" in told and b"eval/loss" in told
    weights = "adapter/adapter_model.safetensors"
    runs = folder / "results/runs"
    assert (runs / "told" / weights).read_bytes() == (runs / "lora" / weights).read_bytes()


class Killed(Exception):
    pass


def sealed(monkeypatch, spec, killed_at=None):
    """Train; return the names of the checkpoints that were completed.

    Killed right after ``killed_at`` is complete, a training leaves what a real kill leaves.
    """
    from sftflow import trainer

    names = []

    def seal(checkpoint, seal=trainer.seal):
        seal(checkpoint)
        names.append(checkpoint.name)
        if checkpoint.name == killed_at:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "seal", seal)
        if killed_at:
            with pytest.raises(Killed):
                run(toy.training(spec))
        else:
            run(toy.training(spec))
    return names


# One of each layout of what must be kept: a whole model, moved weights and two learning rates, a
# network that PEFT does not save, AdaLoRA's averages. Plain adapters: test_training.py.
@pytest.mark.parametrize("name", ["full", "last_n_layers", "three-in-one", "p_tuning", "adalora"])
def test_a_resumed_run_ends_with_the_same_bytes(trained, folder, monkeypatch, name):
    spec = {**spec_of(name), "run": f"killed-{name}"}
    assert sealed(monkeypatch, spec, "checkpoint-9")[-1] == "checkpoint-9"
    assert sealed(monkeypatch, spec) == ["checkpoint-12"]
    assert toy.sums(folder, spec["run"]) == toy.sums(folder, name)


def test_adalora_leaves_the_ranks_it_was_asked_for(trained, folder):
    from safetensors.torch import load_file

    weights = load_file(folder / "results/runs/adalora/adapter/adapter_model.safetensors")
    values = [value for name, value in weights.items() if "lora_E" in name]
    assert len(values) == 14  # seven linear layers in each of two
    assert sum(int((value != 0).sum()) for value in values) == 14 * 4  # target_r on average
    assert len({int((value != 0).sum()) for value in values}) > 1  # not the same everywhere


def test_only_what_a_method_trains_has_changed(trained, folder):
    from safetensors.torch import load_file

    base = load_file(folder / "results/models/tiny/model.safetensors")

    def changed(name):
        now = load_file(folder / f"results/runs/{name}/adapter/model.safetensors")
        return {key for key in base if not base[key].equal(now[key])}

    assert changed("full") == set(base)
    assert changed("bitfit") == {key for key in base if key.endswith(".bias")}
    assert changed("last_n_layers") == {
        key for key in base if "layers.1." in key or key == "model.norm.weight"
    }


def test_what_is_kept_is_the_mean_of_the_last_checkpoints(trained, folder, monkeypatch):
    from safetensors.torch import load_file

    from sftflow import trainer

    counts = trained["last_n_layers"]["counts"]
    assert counts["averaged_steps"] == [6, 9, 12]  # saved every third step
    monkeypatch.setattr(trainer, "prune", lambda *_: None)  # keep them all, to look at them
    spec = spec_of("last_n_layers")
    plain = {**spec["training"], "average_checkpoints": None}
    run(toy.training({**spec, "run": "steps", "training": plain}))
    (below,) = (folder / "results/runs/steps/checkpoints").iterdir()
    steps = [load_file(below / f"checkpoint-{n}/model.safetensors") for n in (6, 9, 12)]
    kept = load_file(folder / "results/runs/last_n_layers/adapter/model.safetensors")
    for name in kept:
        mean = sum(step[name].double() for step in steps) / 3
        assert float((kept[name] - mean).abs().max()) < 1e-6
    name = "model.layers.1.mlp.up_proj.weight"
    assert float((kept[name] - steps[-1][name]).abs().max()) > 1e-4
    assert abs(counts["averaged_eval_loss"] - losses(folder, "last_n_layers")[1][-1]) > 1e-5


@pytest.fixture
def general(folder):
    """Return rows of general.txt, and make the model ``reader``, which has read that text."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    reader = folder / "results/models/reader"
    shutil.copytree(folder / "results/models/tiny", reader)
    ids = AutoTokenizer.from_pretrained(reader)((folder / "general.txt").read_text())["input_ids"]
    rows = torch.tensor(ids[: len(ids) // 128 * 128]).view(-1, 128)
    model = AutoModelForCausalLM.from_pretrained(reader)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):  # letters drawn at random: the loss ends near ln 23 = 3.14
        model(input_ids=rows, labels=rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(reader)
    toy.vouch(reader)
    return rows


def loss_on(rows, reader, adapter=None):
    """Return the mean loss per token of a model with an adapter (nats)."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(reader)
    model = PeftModel.from_pretrained(model, adapter) if adapter else model
    with torch.no_grad():
        return model.eval()(input_ids=rows, labels=rows).loss.item()


def test_with_ewc_less_is_forgotten(folder, general):
    reader, runs = folder / "results/models/reader", folder / "results/runs"
    spec = {**toy.SPEC, "texts": {"general": "general.txt"}}
    training = {**toy.SPEC["training"], "num_train_epochs": 2, "learning_rate": 2e-2}
    for name, ewc in (("free", None), ("held", {**EWC, "lambda": 1000.0})):
        own = {**spec, "run": name, "training": {**training, "ewc": ewc}}
        run(toy.training(own, model="results/models/reader"))
    before = loss_on(general, reader)
    free, held = (loss_on(general, reader, runs / n / "adapter") for n in ("free", "held"))
    assert free > before + 0.1
    assert held - before < (free - before) / 5
    manifests = {name: read_manifest(runs / name / "manifest.json") for name in ("free", "held")}
    counts = {name: manifest["counts"] for name, manifest in manifests.items()}
    assert counts["held"]["best_eval_loss"] < counts["free"]["best_eval_loss"] + 0.05  # it learns
    assert counts["held"]["ewc_penalty"] > 0 and "ewc_penalty" not in counts["free"]
    assert "general" in manifests["held"]["inputs"]
    assert "texts" not in manifests["held"]["settings"]  # where they lie is no setting


def test_efficiency_is_recorded(trained):
    counts = {name: manifest["counts"] for name, manifest in trained.items()}
    packed, grouped = counts["three-in-one"], counts["lora"]
    assert packed["tokens"] == packed["computed_tokens"] == grouped["tokens"]
    assert packed["efficiency"] == 1 > grouped["efficiency"] > 0.8


def test_a_run_starts_from_another_ones_model(trained, folder):
    run(toy.merging("full", method="full", name="first"))
    spec = {**spec_of("lora"), "run": "second"}
    run(toy.training(spec, model="results/models/first"))
    assert losses(folder, "second")[0][0] < losses(folder, "full")[0][0] - 0.5  # it goes on
    run(toy.merging("second", base="first"))
    manifest = read_manifest(folder / "results/models/second/manifest.json")
    assert manifest["base"]["name"] == "first"
    assert manifest["proof"]["merged"]["max_logit_difference"] < 1e-4


def test_noise_on_embeddings_is_for_training_only(folder):
    short = {"max_steps": 1, "learning_rate": 1e-12, "eval_steps": 1, "save_steps": 1}
    for name, alpha in (("quiet", None), ("noisy", 5.0)):
        training = {**toy.SPEC["training"], **short, "neftune_noise_alpha": alpha}
        run(toy.training({**toy.SPEC, "run": name, "training": training}))
    quiet, quiet_validation = losses(folder, "quiet")
    noisy, noisy_validation = losses(folder, "noisy")
    assert abs(quiet[0] - noisy[0]) > 1e-4
    assert abs(quiet_validation[0] - noisy_validation[0]) < 1e-6


def test_a_run_stops_early_and_resumed_stops_there_again(folder, monkeypatch):
    training = {**toy.SPEC["training"], "learning_rate": 3.0, "lr_scheduler_type": "constant"}
    training |= {"eval_steps": 1, "save_steps": 1, "early_stopping_patience": 2}
    spec = {**toy.SPEC, "run": "early", "training": training}
    run(toy.training(spec))
    counts = read_manifest(folder / "results/runs/early/manifest.json")["counts"]
    _, validation = losses(folder, "early")
    assert counts["stopped_early"]
    assert counts["steps"] == len(validation) < 18
    assert counts["kept_step"] == counts["steps"] - 2  # patience
    assert min(validation) == validation[-3]
    again = {**spec, "run": "again"}
    sealed(monkeypatch, again, f"checkpoint-{counts['steps']}")
    assert sealed(monkeypatch, again)[-1] == f"checkpoint-{counts['steps']}"
    assert toy.sums(folder, "again") == toy.sums(folder, "early")
