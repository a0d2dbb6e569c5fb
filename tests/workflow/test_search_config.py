"""Faults of a search are told before anything runs, by the key that has to change."""

from __future__ import annotations

import pytest
from broken_config import assert_one_fault, edited, load

RATE = {"training.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}
HERE = "runs.talk-lora.search"
PAIRS = {"format": "preference"}


def searched(space=None, **more):
    """Return the good config with a search; ``run`` holds other keys of its run."""
    run = more.pop("run", {})
    changes = {f"runs__talk_lora__{key}": value for key, value in run.items()}
    search = {"space": RATE if space is None else space, **more}
    return edited(runs__talk_lora__search=search, **changes)


def rank(**dimension):
    return searched({"lora.r": dimension})


BROKEN = {
    "no key": (
        searched({"lora.rank": {"choices": [1, 2]}}),
        f"{HERE}.space.lora.rank: is no key of a run",
    ),
    "another method's key": (
        searched({"adalora.init_r": {"choices": [8, 12]}}),
        f"{HERE}.space.adalora.init_r: is not for method lora; leave it out",
    ),
    "other tokens": (
        searched({"max_length": {"choices": [128, 256]}}),
        f"{HERE}.space.max_length: trials are compared by validation loss",
    ),
    "swept too": (
        searched(run={"sweep": {"training.learning_rate": [1e-4]}}),
        "space.training.learning_rate: stands under sweep too; leave one of them out",
    ),
    "no bounds": (rank(low=4), "space.lora.r: needs low and high, or choices"),
    "bounds and choices": (rank(choices=[4, 8], low=4), "has choices and bounds"),
    "bounds the wrong way": (rank(low=8, high=8), "low (8) must be less than high (8)"),
    "no logarithm": (
        searched({"training.weight_decay": {"low": 0, "high": 0.1, "log": True}}),
        "low is 0, which has no logarithm",
    ),
    "log and step": (rank(low=4, high=16, log=True, step=4), "log and step stand beside"),
    "no choice": (rank(choices=[]), "lora.r.choices: is empty; name at least one"),
    "no number": (
        searched({"training.learning_rate": {"low": "1e-5", "high": 1e-3}}),
        "'1e-5' is text, not a number; write it without quotes, as 1e-05",
    ),
    "a choice out of range": (
        searched({"lora.r": {"choices": [0, 4]}}, trials=2),
        f"{HERE}.space: with lora.r 0: 0 is out of range, must be at least 1",
    ),
    "broken ranks": (rank(low=4, high=16.5), "space: with lora.r 16.5: must be a whole number"),
    "what does not go together": (
        searched(
            {"lora.init": {"choices": ["default", "pissa"]}},
            trials=2,
            run={"lora": {"use_dora": True}},
        ),
        f"{HERE}.space: with lora.init pissa: pissa stands beside use_dora",
    ),
    "two that do not go together": (
        searched(
            {
                "lora.init": {"choices": ["default", "pissa"]},
                "lora.use_dora": {"choices": [False, True]},
            },
            trials=4,
        ),
        f"{HERE}.space: with lora.init pissa and lora.use_dora true: pissa stands beside use_dora",
    ),
    "grid of a range": (searched(sampler="grid"), "sampler grid needs choices"),
    "more trials than there are": (
        rank(choices=[4, 8]),
        f"{HERE}.trials: 16 are more than the 2 combinations of the space",
    ),
    "nothing to compare by": (
        searched(run={})
        | {"datasets": {"talk": {"sources": ["mine"], "split": {"validation": 0}}}},
        f"{HERE}: goes by validation loss, and dataset 'talk' has no validation rows",
    ),
    "preference pairs": (
        searched(run={"dpo": {}}) | {"sources": {"mine": {**PAIRS, "path": "rows.jsonl"}}},
        f"{HERE}: stands beside dpo, which is not searched",
    ),
    "a score that chooses": (
        searched(run={"training": {"report_to": ["wandb"]}}),
        f"{HERE}: goes by validation loss alone; leave training.report_to out",
    ),
    "an unknown sampler": (searched(sampler="bayes"), f"{HERE}.sampler: 'bayes' is not known"),
    "nothing searched": (searched({}), f"{HERE}.space: is empty"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_of_a_search_is_told_in_a_sentence(tmp_path, name):
    assert_one_fault(tmp_path, *BROKEN[name])


def test_defaults_of_a_search_are_filled_in(tmp_path):
    space = {**RATE, "lora.r": {"choices": [8, 16]}}
    search = load(tmp_path, searched(space))["runs"]["talk-lora"]["search"]
    assert search["trials"] == 16
    assert search["sampler"] == "tpe"
    assert search["space"]["lora.r"] == {"choices": [8, 16], "log": False, "step": None}


def test_each_run_of_a_sweep_is_searched(tmp_path):
    runs = load(tmp_path, searched(run={"sweep": {"lora.r": [8, 16]}}))["runs"]
    assert [run["search"]["space"].keys() for run in runs.values()] == [RATE.keys()] * 2
    assert runs["talk-lora.r-8"]["sweep"] == {"lora.r": [8]}
