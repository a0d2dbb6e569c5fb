"""A run has the modules that it asks for, and its rule knows of them."""

import pytest

from sftflow.askedmodules import asked_module, asked_modules
from sftflow.codegraph import SCRIPTS

TRAINING = {
    "layerwise_lr_decay": None,
    "average_checkpoints": None,
    "ewc": None,
    "batching": "grouped",
}
ASKING = {
    "averaging": {"training": {**TRAINING, "average_checkpoints": 3}},
    "evalgeneration": {"training": {**TRAINING, "eval_generation": {"rows": 2}}},
    "ewc": {"training": {**TRAINING, "ewc": {"text": "t"}}},
    "packing": {"training": {**TRAINING, "batching": "packed"}},
    "rates": {"training": TRAINING, "lora": {"lr_ratio": 16}},
}


def test_a_plain_run_asks_for_none():
    assert asked_modules({"training": TRAINING, "lora": {"lr_ratio": None}}) == []
    assert asked_module({"training": TRAINING}, "ewc") is None


@pytest.mark.parametrize("name", ASKING)
def test_a_run_that_asks_has_the_module(name):
    assert asked_modules(ASKING[name]) == [name]
    assert (SCRIPTS / f"sftflow/{name}.py").is_file()


def test_a_rate_by_layer_asks_too():
    assert asked_modules({"training": {**TRAINING, "layerwise_lr_decay": 0.5}}) == ["rates"]
    assert asked_module({"training": {**TRAINING, "layerwise_lr_decay": 0.5}}, "rates").depths
