"""Quantised exports: what a dry run plans of them, and what is refused before any job."""

from __future__ import annotations

import json

import pytest
from broken_config import assert_one_fault, load
from dryruns import planned, project, snakemake
from test_adapters import of_default
from test_method_config import run

from sftflow.configschema import schema
from sftflow.devices import gpu_count
from sftflow.schemes import SCHEMES


def test_each_export_has_a_server_and_measurements_of_its_own(tmp_path):
    config = project(tmp_path, of_default(quantize=["w8a8", "w4a16"]))
    work = ("--configfile", config, "--directory", tmp_path / "work")
    jobs = planned(*work)
    assert (jobs["train_adapter"], jobs["merge_adapter"], jobs["quantize_model"]) == (1, 1, 2)
    assert jobs["serve_model"] == 4
    asked = ("measure_latency", "run_benchmark", "generate_answers", "measure_loss")
    assert [jobs[rule] for rule in asked] == [4] * 4
    assert jobs["compare_models"] == 5  # each tuned one - base, each export - merged
    assert jobs["judge_run"] == 1
    said = snakemake("-n", "-p", *work, "models").stdout
    made = [line for line in said.splitlines() if "quantize_model.py" in line]
    assert len(made) == 2
    assert all("--model results/models/tickets-lora " in line for line in made)


@pytest.mark.skipif(gpu_count() > 0, reason="this machine has a GPU")
def test_a_scheme_without_a_kernel_for_cpus_is_told_below_the_plan(tmp_path):
    config = project(tmp_path, of_default(quantize=["w8a16"]))
    work = ("--configfile", config, "--directory", tmp_path / "work")
    done = snakemake("-n", "--quiet", *work)
    said = (
        "runs.tickets-lora.quantize: vLLM serves w8a16 on a GPU only, and there is none; use "
        "w8a8, w4a16, fp8_dynamic"
    )
    assert done.returncode == 0 and f"serve: {said}" in done.stderr
    elsewhere = snakemake("-n", "--quiet", "--profile", "profiles/slurm", *work)
    assert elsewhere.returncode == 0 and said not in elsewhere.stderr
    started = snakemake("--cores", "1", *work)
    assert started.returncode and said in started.stdout + started.stderr
    assert not (tmp_path / "work/results/sources").exists()


def test_the_schema_and_the_stage_know_the_same_schemes():
    known = schema()["$defs"]["run"]["properties"]["quantize"]["items"]["enum"]
    assert sorted(known) == sorted(SCHEMES)


def folder(tmp_path, **shape):
    """Return a good config whose base is a folder with this shape in its config.json."""
    model = tmp_path / "base"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 2048, **shape}))
    (model / "model.safetensors").write_text("")
    (model / "tokenizer.json").write_text("{}")
    config = run(quantize=["w4a16"])
    return {**config, "bases": {"tiny": {"path": "base"}}}


WIDE = {"hidden_size": 192, "num_attention_heads": 4, "num_key_value_heads": 2}

BROKEN = {
    "misspelt scheme": (run(quantize=["w8a9"]), "'w8a9' is not known; did you mean 'w8a8'?"),
    "another name of a scheme": (
        run(quantize=["int8"]),
        "'int8' is not known; int8 weights and activations are w8a8",
    ),
    "what is not offered": (
        run(quantize=["gptq"]),
        "'gptq' is not known; GPTQ and AWQ are not offered, w4a16 rounds to nearest",
    ),
    "twice": (run(quantize=["w8a8", "w8a8"]), "runs.r.quantize: names the same thing twice"),
    "not measured": (
        run(quantize=["w8a8"], measure=False),
        "runs.r.quantize: nothing is measured of this run (measure: false); leave one of them out",
    ),
    "no merged model": (
        run(quantize=["w8a8"], serve="adapter"),
        "runs.r.quantize: quantised is the merged model, and this run is served as an adapter "
        "only; set serve: both",
    ),
    "groups that don't fit": (
        {
            **run(quantize=["w4a16"]),
            "bases": {"tiny": {"make": {"seed": 1, **WIDE}, "template": "chatml"}},
        },
        "runs.r.quantize: of base 'tiny' hidden_size is 192, no multiple of the 128 weights that "
        "share a scale with w4a16; use w8a8 or fp8_dynamic",
    ),
    "an export that is not made": (
        {**run(quantize=["w8a8"]), "comparisons": [["r+w4a16", "tiny"]]},
        "comparisons[0]: run 'r' has no such export; add w4a16 to runs.r.quantize",
    ),
}


@pytest.mark.parametrize(("config", "expected"), BROKEN.values(), ids=BROKEN)
def test_what_can_not_be_quantised_is_told_before_any_job(config, expected, tmp_path):
    assert_one_fault(tmp_path, config, expected)


SHAPES = {
    "groups": ({"intermediate_size": 100}, "of base 'tiny' intermediate_size is 100"),
    "experts": ({"num_experts": 8}, "num_experts is 8: a mixture of experts is not quantised here"),
}


@pytest.mark.parametrize(("shape", "expected"), SHAPES.values(), ids=SHAPES)
def test_the_shape_of_a_base_in_a_folder_is_asked(shape, expected, tmp_path):
    assert_one_fault(tmp_path, folder(tmp_path, **shape), expected)


def test_an_export_may_be_named_wherever_a_model_is(tmp_path):
    config = {
        **run(quantize=["w8a8", "fp8_dynamic"], serve="both"),
        "comparisons": [["r+w8a8", "r+adapter"]],
        "gates": {"rules": ["ended >= 0.9"], "models": ["r", "r+fp8_dynamic"]},
        "people": {"panel": {"models": ["r+w8a8", "tiny"]}},
    }
    assert load(tmp_path, config)["runs"]["r"]["quantize"] == ["w8a8", "fp8_dynamic"]
