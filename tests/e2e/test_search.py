"""A search with real trainings on the very small model."""

import json

import pytest
import training_fixture as toy

from sftflow.manifests import read_manifest

pytestmark = pytest.mark.e2e

SEARCH = "results/runs/r"
RATES = {"1": 3e-5, "2": 1e30, "3": 3e-3}  # hardly anything, far too much, right
TRAINED = ("adapter/adapter_model.safetensors", "history.csv", "SHA256SUMS")


def trial_line(number, rate):
    spec = toy.changed(
        toy.SPEC,
        training__learning_rate=rate,
        training__max_steps=6,
        training__eval_steps=3,
        training__warmup_ratio=0.0,
    )
    folder = f"{SEARCH}/trials/{number}"
    return toy.command(
        "train_trial",
        {**spec, "trial": int(number), "settings": {"training.learning_rate": rate}},
        templated=toy.TEMPLATED,
        model="results/models/tiny",
        trained=f"{folder}/trained",
        checkpoints=f"{folder}/checkpoints",
        trial=f"{folder}/trial.json",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a work folder after three trials, the choice, and the merge of what was chosen."""
    folder = tmp_path_factory.mktemp("search")
    toy.write_dataset(folder / "results/datasets/toy")
    toy.write_base(folder / "results/models/tiny")
    toy.template(folder)
    for number, rate in RATES.items():
        toy.finish(toy.start(folder, trial_line(number, rate)))
    places = {"adapter": "adapter", "samples": "samples", "history": "history.csv"}
    places = {name: f"{SEARCH}/{file}" for name, file in places.items()}
    line = toy.command("choose_trial", {"run": "r"}, **places, manifest=f"{SEARCH}/manifest.json")
    line += ["--trials", *(f"{SEARCH}/trials/{number}/trial.json" for number in RATES)]
    toy.finish(toy.start(folder, line))
    toy.finish(toy.start(folder, toy.merging("r")))
    return folder


def trial(folder, number):
    return json.loads((folder / f"{SEARCH}/trials/{number}/trial.json").read_text())


def test_a_trial_says_the_loss_of_the_weights_that_it_kept(folder):
    counts = read_manifest(folder / f"{SEARCH}/trials/3/trained/manifest.json")["counts"]
    assert trial(folder, 3)["loss"] == counts["best_eval_loss"]
    assert trial(folder, 3)["loss"] < trial(folder, 1)["loss"]


def test_a_trial_that_diverges_says_so_and_stops_nothing(folder):
    said = trial(folder, 2)
    assert said["loss"] is None
    assert "is nan at step" in said["diverged"] or "is inf at step" in said["diverged"]
    assert list((folder / f"{SEARCH}/trials/2/trained").iterdir()) == []


def test_the_best_trial_is_the_run_and_what_is_merged(folder):
    for name in TRAINED:
        best = (folder / f"{SEARCH}/trials/3/trained" / name).read_bytes()
        assert (folder / SEARCH / name).read_bytes() == best
    manifest = read_manifest(folder / f"{SEARCH}/manifest.json")
    assert (manifest["stage"], manifest["trial"]) == ("choose_trial", 3)
    merged = read_manifest(folder / "results/models/r/manifest.json")
    assert merged["proof"]["merged"]["max_logit_difference"] < 1e-4
