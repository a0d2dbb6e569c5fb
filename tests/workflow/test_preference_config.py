"""Runs on preference pairs: what can't work is told before any job."""

from __future__ import annotations

import pytest
from broken_config import assert_one_fault, edited, load

from sftflow import plan
from sftflow.configschema import schema


def pairs(run: dict | None = None, clean: list | None = None, **more) -> dict:
    """Return a good config with a run on pairs after another run, and changes to it."""
    config = edited(
        sources__pairs={"path": "rows.jsonl", "format": "preference"},
        datasets__better={"sources": ["pairs"], **({} if clean is None else {"clean": clean})},
    )
    one = {"base": "talk-lora", "dataset": "better", "max_length": 512, "dpo": {}, **(run or {})}
    config["runs"]["dpo"] = one
    return {**config, **more}


BROKEN = {
    "rows to imitate": (
        pairs({"dataset": "talk"}),
        "runs.dpo.dpo: dataset 'talk' has no preference pairs; give its sources format: preference",
    ),
    "mixed dataset": (
        pairs(datasets={"talk": {"sources": ["mine"]}, "better": {"sources": ["pairs", "mine"]}}),
        "datasets.better.sources: 'mine' holds no preference pairs, others here do",
    ),
    "step that judges an answer alone": (
        pairs(clean=[{"step": "refusals"}]),
        "datasets.better.clean[0].step: refusals is not for preference pairs; those that are: norm",
    ),
    "conflicts nearly the same": (
        pairs(clean=[{"step": "conflicts", "near": 0.9}]),
        "datasets.better.clean[0].near: is not for preference pairs",
    ),
    "adapter that is a prompt": (
        pairs({"method": "prompt", "measure": False}),
        "runs.dpo.method: dpo works with lora, qlora, ia3, bitfit, last_n_layers, full, not prompt",
    ),
    "adalora": (pairs({"method": "adalora"}), "not adalora"),
    "pissa": (
        pairs({"lora": {"init": "pissa"}}),
        "without it the model is no longer the reference of dpo; use default",
    ),
    "smoothing of another loss": (
        pairs({"dpo": {"label_smoothing": 0.1}}),
        "and robust needs it; loss_type is sigmoid, label_smoothing 0.1",
    ),
    "robust without smoothing": (
        pairs({"dpo": {"loss_type": "robust"}}),
        "loss_type is robust, label_smoothing 0",
    ),
    "misspelt loss": (
        pairs({"dpo": {"loss_type": "sigmod"}}),
        "runs.dpo.dpo.loss_type: 'sigmod' is not known; did you mean 'sigmoid'?",
    ),
    "misspelt key": (pairs({"dpo": {"betta": 1}}), "did you mean 'beta'?"),
    "beta of nothing": (pairs({"dpo": {"beta": 0}}), "must be more than 0"),
    "thinking as context": (pairs({"reasoning": "context"}), "context is not for dpo"),
    "last turn": (pairs({"train_on": "last"}), "dpo always trains the last answer of a pair"),
    "packed": (pairs({"training": {"batching": "packed"}}), "pairs can't be packed; use grouped"),
    "noise": (
        pairs({"training": {"neftune_noise_alpha": 5}}),
        "runs.dpo.training.neftune_noise_alpha: does not work with dpo; leave it out",
    ),
    "answering": (
        pairs({"training": {"eval_generation": {}}}),
        "eval_generation: does not work with",
    ),
    "averaged": (pairs({"training": {"average_checkpoints": 2}}), "average_checkpoints: does not"),
    "sharded": (
        pairs({"launch": {"num_processes": 2, "strategy": "fsdp"}}),
        "runs.dpo.launch.strategy: fsdp does not work with dpo; use ddp",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_go_with_pairs_is_told(tmp_path, name):
    assert_one_fault(tmp_path, *BROKEN[name])


def test_every_method_has_a_rate_of_its_own_with_dpo(tmp_path):
    rate = schema()["$defs"]["run"]["properties"]["training"]["properties"]["learning_rate"]
    for method, wanted in rate["default_with_dpo"].items():
        if method != "qlora":
            config = load(tmp_path, pairs({"method": method}))
            assert config["runs"]["dpo"]["training"]["learning_rate"] == wanted
            assert config["runs"]["talk-lora"]["training"]["learning_rate"] == 2e-4


def test_pairs_make_tokens_of_their_own_also_for_a_run_that_imitates(tmp_path):
    config = pairs()
    config["runs"]["chosen"] = {"base": "tiny", "dataset": "better", "max_length": 512}
    config = load(tmp_path, config)
    assert plan.preference_runs(config) == ["dpo"]
    keys = {run: plan.templated_key(config, run) for run in config["runs"]}
    assert len(set(keys.values())) == 3
    assert plan.templated_specs(config)[keys["dpo"]]["pairs"] is True
    assert "pairs" not in plan.templated_specs(config)[keys["chosen"]]
    assert plan.root_base(config, "dpo") == "tiny"


def test_a_gate_may_ask_how_many_pairs_are_ranked_right(tmp_path):
    rules = ["reward_accuracy >= 0.6"]
    assert (
        load(tmp_path, pairs(gates={"rules": rules, "models": ["dpo"]}))["gates"]["rules"] == rules
    )


def test_beta_can_be_swept(tmp_path):
    config = load(tmp_path, pairs({"sweep": {"dpo.beta": [0.1, 0.5]}}))
    assert {n: r["dpo"]["beta"] for n, r in config["runs"].items() if r["dpo"]} == {
        "dpo.beta-0.1": 0.1,
        "dpo.beta-0.5": 0.5,
    }
