"""Runs that are served as adapters: one server for all of a start model, and what is refused."""

from __future__ import annotations

import re

import pytest
from broken_config import assert_one_fault, load
from dryruns import planned, project, snakemake
from test_method_config import run


def of_default(**more):
    """Return an edit of the default config's one run."""

    def edit(config):
        config["runs"]["tickets-lora"] |= more
        config["runs"]["tickets-lora"]["lora"] |= more.get("lora", {})

    return edit


def test_a_sweep_of_eight_adapters_starts_one_server(tmp_path):
    ranks = [2, 4, 8, 16]
    sweep = {"lora.r": ranks, "training.learning_rate": [1e-3, 3e-3]}
    config = project(tmp_path, of_default(serve="adapter", sweep=sweep))
    work = ("--configfile", config, "--directory", tmp_path / "work")
    jobs = planned(*work)
    assert jobs["train_adapter"] == 8
    assert (jobs["serve_adapters"], jobs["serve_model"]) == (1, 1)  # the base has its own
    assert jobs["merge_adapter"] == 0
    asked = ("measure_latency", "run_benchmark", "generate_answers", "measure_loss")
    assert [jobs[rule] for rule in asked] == [9] * 4

    said = snakemake("-n", "-p", *work).stdout
    (server,) = [s for s in said.splitlines() if "serve_model.py" in s and "--adapters" in s]
    assert '"lora":{"max_lora_rank":16,"max_loras":4}' in server
    assert "--model results/models/tiny " in server
    served = re.findall(r" (\S+)\+adapter=results/runs/(\S+)/adapter", server)
    assert len(served) == 8 and all(name == folder for name, folder in served)
    # Only latency rests on what the server has room for.
    asks = [line for line in said.splitlines() if "+adapter" in line and "--endpoint" in line]
    asks = [line for line in asks if line != server]
    assert len(asks) == 24
    assert all("--endpoint results/adapters/tiny/server.json" in line for line in asks)
    with_room = {re.search(r"scripts/(\w+)\.py", s)[1] for s in asks if '"max_lora_rank"' in s}
    assert with_room == {"measure_latency"}


def test_both_forms_are_measured_and_compared(tmp_path):
    config = project(tmp_path, of_default(serve="both"))
    jobs = planned("--configfile", config, "--directory", tmp_path / "work")
    assert (jobs["serve_adapters"], jobs["serve_model"], jobs["merge_adapter"]) == (1, 2, 1)
    assert jobs["measure_latency"] == jobs["measure_loss"] == 3
    assert jobs["compare_models"] == 3  # merged - base, adapter - base, adapter - merged
    assert jobs["judge_run"] == 1


def faults_of(runs, **more):
    entry = run()["runs"]["r"]
    return {**run(), "runs": {name: {**entry, **keys} for name, keys in runs.items()}, **more}


BROKEN = {
    "adapter of full training": (
        run("full", serve="adapter"),
        "runs.r.serve: full trains the model's own weights and leaves no adapter; use serve: mer",
    ),
    "adapter that is no LoRA": (
        run("ia3", serve="both"),
        "runs.r.serve: vLLM serves LoRA adapters, and what ia3 leaves is none; use serve: merged",
    ),
    "dora": (
        run(serve="adapter", lora={"use_dora": True}),
        "runs.r.serve: vLLM serves no DoRA (lora.use_dora); use serve: merged",
    ),
    "rank that no server has": (
        run(serve="adapter", lora={"r": 300, "init": "pissa"}),
        "runs.r.serve: vLLM serves adapters up to rank 512, this one has 600; use serve: merged",
    ),
    "rank over the one asked for": (
        {**run(serve="adapter", lora={"r": 32}), "serve": {"lora": {"max_lora_rank": 16}}},
        "serve.lora.max_lora_rank: 16 is less than the rank 32 of the adapter of runs.r; raise it",
    ),
    "rank that vLLM does not know": (
        {**run(), "serve": {"lora": {"max_lora_rank": 48}}},
        "serve.lora.max_lora_rank: 48 is not known",
    ),
    "not measured": (
        run(serve="adapter", measure=False),
        "runs.r.serve: nothing is measured of this run (measure: false); leave one of them out",
    ),
    "start of which only the adapter is measured": (
        faults_of({"first": {"serve": "adapter"}, "second": {"base": "first"}}),
        "runs.second.base: this run starts from the merged model of 'first' and is compared with "
        "it, and only its adapter is measured; set runs.first.serve: both",
    ),
    "misspelt form": (run(serve="adaptor"), "'adaptor' is not known; did you mean 'adapter'?"),
    "the merged form of an adapter": (
        {**run(serve="adapter"), "gates": {"rules": ["ended >= 0.9"], "models": ["r"]}},
        "gates.models: run 'r' is measured as 'r+adapter'; name that, or set serve: both",
    ),
    "the adapter of what is merged": (
        {**run(), "comparisons": [["r+adapter", "tiny"]]},
        "comparisons[0]: run 'r' is measured as 'r'; name that, or set serve: both",
    ),
}


@pytest.mark.parametrize(("config", "expected"), BROKEN.values(), ids=BROKEN)
def test_what_can_not_be_served_is_told_before_any_job(config, expected, tmp_path):
    assert_one_fault(tmp_path, config, expected)


def test_adapters_may_be_named_wherever_a_model_is(tmp_path):
    config = faults_of(
        {"a": {"serve": "both"}, "b": {"serve": "adapter", "lora": {"init": "pissa"}}},
        comparisons=[["b+adapter", "a+adapter"]],
        gates={"rules": ["ended >= 0.9"], "models": ["a", "b+adapter"]},
        people={"panel": {"models": ["a+adapter", "tiny"]}},
    )
    assert load(tmp_path, config)["serve"]["lora"] == {"max_loras": 4, "max_lora_rank": None}
