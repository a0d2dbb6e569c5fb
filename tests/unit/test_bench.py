"""Benchmarks are run by hand: what they take from the stages must stay there."""

import importlib.util
import json
from pathlib import Path

import pytest

from sftflow.bestcheckpoint import BY_LOSS, best_of

BENCH = Path(__file__).parents[2] / "bench"


def loaded(path):
    found = importlib.util.spec_from_file_location(f"bench_{path.stem}", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(BENCH.glob("*.py")), ids=lambda p: p.stem)
def test_a_benchmark_finds_what_it_imports(path):
    assert loaded(path).__doc__


def test_a_training_is_asked_for_as_the_rule_does(tmp_path):
    line = loaded(BENCH / "training.py").ours(tmp_path, "packed")
    spec = json.loads(line[line.index("--spec") + 1])
    assert best_of(spec["training"]) is BY_LOSS
    assert not {"report_to", "eval_generation"} & set(spec["training"])
