"""A run has the options of its method only, and what can't work is told before any job."""

from __future__ import annotations

import pytest
from broken_config import assert_one_fault, faults, load

from sftflow.configschema import schema
from sftflow.direction import direction
from sftflow.methods import METHODS, OPTIONS
from sftflow.scoring import METRICS


def run(method: str = "lora", **more) -> dict:
    """Return a good config whose run has this method and these keys."""
    return {
        "sources": {"mine": {"path": "rows.jsonl"}},
        "datasets": {"talk": {"sources": ["mine"]}},
        "bases": {"tiny": {"make": {"seed": 1}, "template": "chatml"}},
        "runs": {
            "r": {"base": "tiny", "dataset": "talk", "max_length": 512, "method": method, **more}
        },
    }


CHECKPOINTING = {"gradient_checkpointing": True}
FSDP = {"num_processes": 2, "strategy": "fsdp"}
SMALL = {"sources": ["mine"], "split": {"validation": 0}}

PACKED = {"batching": "packed"}


def anchored(method: str = "lora", **more) -> dict:
    """Return a config whose run has EWC on its raw file, which is text too."""
    return {**run(method, training={"ewc": {"text": "t"}}, **more), "texts": {"t": "rows.jsonl"}}


BROKEN = {
    "processes that nodes can't share": (
        run(launch={"num_processes": 3, "num_nodes": 2}),
        "runs.r.launch.num_processes: 3 can't be shared evenly by 2 nodes; make it a multiple",
    ),
    "option of another method": (
        run(ia3={}),
        "runs.r.ia3: is for method ia3, not lora; leave it out",
    ),
    "adapter of full": (run("full", lora={"r": 8}), "lora: is for method lora and qlora, not full"),
    "sweep of another method": (
        run("ia3", sweep={"lora.r": [8, 16]}),
        "runs.r.sweep: lora.r is for method lora and qlora, not ia3; make it a run of its own",
    ),
    "sweep half of another method": (
        run(sweep={"method": ["lora", "full"], "lora.r": [8, 16]}),
        "runs.r.sweep: lora.r is for method lora and qlora, not lora, full",
    ),
    "dora for a method": (
        run("dora"),
        "'dora' is not known; DoRA is lora with lora.use_dora: true",
    ),
    "pissa for a method": (run("pissa"), "PiSSA is lora with lora.init: pissa"),
    "misspelt method": (run("last_layers"), "'last_layers' is not known; did you mean 'last_n_la"),
    "packed rows with a prompt": (
        run("prompt", measure=False, training=PACKED),
        "runs.r.training.batching: with prompt vectors stand before each row, and packed rows",
    ),
    "unknown batching": (
        run(training={"batching": "packing"}),
        "batching: 'packing' is not known; did you mean 'packed'?",
    ),
    "ewc without its text": (
        run(training={"ewc": {"text": "wiki"}}),
        "runs.r.training.ewc.text: there is no text 'wiki' under texts; there are: none",
    ),
    "ewc that says nothing": (run(training={"ewc": {}}), "training.ewc: 'text' is missing"),
    "ewc that pulls at nothing": (
        run(training={"ewc": {"text": "wiki", "lambda": 0}}),
        "training.ewc.lambda: 0 is out of range, must be more than 0",
    ),
    "ewc on 4 bits": (anchored("qlora"), "training.ewc: needs weights of 16 bits or more"),
    "ewc of a method without": (
        anchored("ia3"),
        "training.ewc: is for lora, bitfit, last_n_layers, full, not ia3; leave it out",
    ),
    "ewc and dora": (anchored(lora={"use_dora": True}), "ewc: stands beside lora.use_dora"),
    "ewc and pissa": (anchored(lora={"init": "pissa"}), "ewc: stands beside lora.init pissa"),
    "ewc on parts of a model": (
        anchored(launch=FSDP),
        "launch.strategy: fsdp does not work with training.ewc; use ddp",
    ),
    "prefix to be measured": (
        run("prefix"),
        "runs.r.method: what prefix trains can't be merged into plain weights, and the server",
    ),
    "suites of what is not measured": (
        {**run(measure=False, suites=["s"]), "suites": {"s": {"tasks": ["gsm8k"]}}},
        "runs.r.suites: nothing is measured of this run (measure: false)",
    ),
    "pissa on 4 bits": (
        run("qlora", lora={"init": "pissa"}),
        "runs.r.lora.init: pissa needs weights of 16 bits or more; use method lora",
    ),
    "pissa and dora": (
        run(lora={"init": "olora", "use_dora": True}),
        "runs.r.lora.init: olora stands beside use_dora",
    ),
    "ranks that can't fall": (
        run("adalora", adalora={"init_r": 8}),
        "adalora.init_r: 8 must be more than the 8 of target_r",
    ),
    "no time for ranks to fall": (
        run("adalora", adalora={"final_share": 0.9}),
        "runs.r.adalora: warmup_share and final_share leave no step",
    ),
    "feedforward alone": (
        run("ia3", ia3={"feedforward_modules": ["down_proj"]}),
        "ia3.feedforward_modules: needs target_modules beside it",
    ),
    "prefix and checkpointing": (
        run("prefix", measure=False, training=CHECKPOINTING),
        "training.gradient_checkpointing: does not work with prefix",
    ),
    "layers of a prompt": (
        run("prompt", measure=False, training={"layerwise_lr_decay": 0.9}),
        "training.layerwise_lr_decay: prompt trains nothing in the layers",
    ),
    "two ways of rates": (
        run(lora={"lr_ratio": 16}, training={"layerwise_lr_decay": 0.9}),
        "training.layerwise_lr_decay: stands beside lora.lr_ratio",
    ),
    "early stopping on nothing": (
        {**run(training={"early_stopping_patience": 2}), "datasets": {"talk": SMALL}},
        "early_stopping_patience: dataset 'talk' has no validation rows; set its split.validation",
    ),
    "adalora in shards": (
        run("adalora", launch=FSDP),
        "launch.strategy: fsdp does not work with method adalora; use ddp",
    ),
    "four bits in shards": (
        run("qlora", launch={"num_processes": 2, "strategy": "deepspeed3"}),
        "launch.strategy: deepspeed3 does not work with method qlora; use ddp",
    ),
    "pissa in shards": (
        run(lora={"init": "pissa"}, launch=FSDP),
        "launch.strategy: fsdp does not work with lora.init pissa; use ddp",
    ),
    "mean of steps that are not known": (
        run(training={"average_checkpoints": 3, "early_stopping_patience": 2}),
        "training.average_checkpoints: stands beside early_stopping_patience",
    ),
    "an optimizer by another name": (
        run(training={"optim": "adamw_bnb_8bit"}),
        "'adamw_bnb_8bit' is not known; AdamW with moments of 8 bits is adamw_8bit",
    ),
    "an optimizer of whole weights in shards": (
        run(training={"optim": "adafactor"}, launch=FSDP),
        "training.optim: launch.strategy fsdp works with adamw_torch_fused and adamw_torch, not "
        "adafactor; use one of them, or ddp",
    ),
    "mean of shards": (
        run(launch=FSDP, training={"average_checkpoints": 3}),
        "launch.strategy: fsdp does not work with training.average_checkpoints; use ddp",
    ),
    "more layers than there are": (
        run("last_n_layers", last_n_layers={"n": 5}),
        "runs.r.last_n_layers.n: 5 is more than the 4 layers of base 'tiny'",
    ),
    "decay of 1": (
        run(training={"layerwise_lr_decay": 1}),
        "layerwise_lr_decay: 1 is out of range, must be less than 1",
    ),
    "a metric without answers": (
        run(training={"metric_for_best_model": "f1_macro"}),
        "training.metric_for_best_model: f1_macro is a score of answers; set training.eval_gener",
    ),
    "a metric that has no better way": (
        run(training={"metric_for_best_model": "answer_chars", "eval_generation": {}}),
        "training.metric_for_best_model: 'answer_chars' is not known",
    ),
    "answers without evaluations": (
        {**run(training={"eval_generation": {}}), "datasets": {"talk": SMALL}},
        "training.eval_generation: dataset 'talk' has no validation rows, so nothing is evaluated",
    ),
    "answers to nothing": (
        run(training={"eval_generation": {"rows": 0}}),
        "training.eval_generation: asks for nothing; set rows, or prompts together with",
    ),
    "answers of shards": (
        run(launch=FSDP, training={"eval_generation": {}}),
        "launch.strategy: fsdp does not work with training.eval_generation; use ddp",
    ),
    "misspelt tracker": (
        run(training={"report_to": ["tensorbord"]}),
        "'tensorbord' is not known; did you mean 'tensorboard'?",
    ),
    "no patience": (run(training={"early_stopping_patience": 0}), "must be at least 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_is_told_in_a_sentence(name, tmp_path):
    assert_one_fault(tmp_path, *BROKEN[name])


def test_each_score_that_has_a_better_way_may_choose_the_checkpoint():
    training = schema()["$defs"]["run"]["properties"]["training"]["properties"]
    directed = [name for name in METRICS if direction("scores", f"validation.{name}")]
    assert sorted(training["metric_for_best_model"]["enum"]) == sorted(["loss", *directed])


def test_nothing_starts_from_what_leaves_no_model(tmp_path):
    config = run("prompt", measure=False)
    config["runs"]["second"] = {"base": "r", "dataset": "talk", "max_length": 512}
    told = faults(tmp_path, config)
    assert "runs.second.base: 'r' is trained by prompt, which leaves no model" in told[0]


def test_what_is_measured_starts_from_what_is_measured(tmp_path):
    config = run(measure=False)
    config["runs"]["second"] = {"base": "r", "dataset": "talk", "max_length": 512}
    (told,) = faults(tmp_path, config)
    assert "runs.second.base: this run is compared with 'r', where it starts, and nothing" in told
    config["runs"]["second"]["measure"] = False
    assert len(load(tmp_path, config)["runs"]) == 2


@pytest.mark.parametrize("method", METHODS)
def test_a_run_gets_the_defaults_of_its_method_only(method, tmp_path):
    entry = load(tmp_path, run(method, measure=METHODS[method].merges))["runs"]["r"]
    properties = schema()["$defs"]["run"]["properties"]
    known = METHODS[method].options
    assert {name for name in OPTIONS if name in entry} == ({known} if known else set())
    assert known is None or set(entry[known]) == set(properties[known]["properties"])
    rates = properties["training"]["properties"]["learning_rate"]["default_by_method"]
    assert entry["training"]["learning_rate"] == rates[method]


def test_methods_of_a_sweep_have_options_and_rates_of_their_own(tmp_path):
    config = run(sweep={"method": ["lora", "full"]}, lora={"r": 8})
    runs = load(tmp_path, config)["runs"]
    assert runs["r.method-lora"]["lora"]["r"] == 8
    assert runs["r.method-lora"]["training"]["learning_rate"] == 2e-4
    assert "lora" not in runs["r.method-full"]
    assert runs["r.method-full"]["training"]["learning_rate"] == 2e-5
