"""The optimizers that a run may ask for: their names, and what they and precisions need."""

import subprocess

import pytest

from sftflow import trainingdevices
from sftflow.configschema import fill_defaults, schema
from sftflow.optimizers import DEFAULT, OPTIMIZERS, bitsandbytes_asked
from sftflow.plan import shaping_settings
from sftflow.trainingdevices import device_fault

TRAINING = fill_defaults({}, schema()["$defs"]["run"]["properties"]["training"])


def run(method="lora", **training):
    return {"method": method, "training": {**TRAINING, **training}}


def test_names_are_those_of_the_schema_and_of_transformers():
    from transformers.training_args import OptimizerNames, TrainingArguments

    node = schema()["$defs"]["run"]["properties"]["training"]["properties"]["optim"]
    assert node["enum"] == list(OPTIMIZERS)
    assert set(OPTIMIZERS) <= {str(name.value) for name in OptimizerNames}
    # A spec that says nothing leaves it to transformers, whose choice is to be ours.
    assert node["default"] == DEFAULT == TrainingArguments.default_optim


def test_a_run_that_asks_for_none_keeps_its_settings():
    assert "optim" not in shaping_settings(TRAINING)
    assert shaping_settings({**TRAINING, "optim": "adafactor"})["optim"] == "adafactor"


def test_what_needs_bitsandbytes_says_so_and_what_does_not():
    assert bitsandbytes_asked("lora", {}) is None
    assert bitsandbytes_asked("lora", {"optim": "adafactor"}) is None
    assert bitsandbytes_asked("qlora", {})[1] == "lora"
    said = bitsandbytes_asked("full", {"optim": "paged_adamw_8bit"})
    assert said == ("training.optim: paged_adamw_8bit", DEFAULT)


@pytest.fixture
def machine(monkeypatch):
    """Return what makes this a machine with so many GPUs of a compute capability."""

    def be(gpus, capability=9.0):
        fault = None if gpus else "a CUDA GPU and there is none"
        monkeypatch.setattr(trainingdevices, "gpu_count", lambda: gpus)
        monkeypatch.setattr(trainingdevices, "quantisation_fault", lambda: fault)
        done = subprocess.CompletedProcess([], 0, stdout=f"{capability}\n" * gpus)
        monkeypatch.setattr(trainingdevices.subprocess, "run", lambda *_, **__: done)

    return be


def test_what_this_machine_lacks_is_told_with_what_to_use_instead(machine):
    machine(gpus=0)
    assert device_fault(run()) is None
    assert device_fault(run(dtype="bfloat16")) is None  # a CPU computes it, slowly
    said, instead = device_fault(run(dtype="float16"))
    assert (said, instead) == ("training.dtype: float16 needs a CUDA GPU and there is none", "auto")
    said, instead = device_fault(run(optim="lion_8bit"))
    assert said.startswith("training.optim: lion_8bit needs a CUDA GPU")
    assert instead == "adafactor"
    assert device_fault(run("qlora"))[1] == "lora"


def test_a_gpu_before_ampere_has_no_bfloat16(machine):
    machine(gpus=2, capability=7.0)  # V100
    said, instead = device_fault(run(dtype="bfloat16"))
    assert "compute capability 8.0 or more, and here is 7.0" in said
    assert instead == "float16 or float32"
    for fine in ({"dtype": "float16"}, {"optim": "adamw_8bit"}, {}):
        assert device_fault(run(**fine)) is None
    machine(gpus=1, capability=8.6)
    assert device_fault(run(dtype="bfloat16")) is None
