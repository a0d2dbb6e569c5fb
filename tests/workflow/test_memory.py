"""A run that can't fit its device is told below a dry run's plan, and refused before any job."""

from __future__ import annotations

from broken_config import faults
from dryruns import project, snakemake
from test_method_config import run

FULL = {"measure": False, "suites": [], "method": "full"}


def too_large(config):
    """Let a run train all 6.5e10 weights of a base that is made here: a terabyte."""
    wide = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 320}
    heads = {"num_attention_heads": 32, "num_key_value_heads": 32}
    config["bases"]["huge"] = {"template": "chatml", "make": {**wide, **heads}}
    small = config["runs"]["tickets-lora"]
    kept = {"dataset": "tickets", "max_length": 256, "training": small["training"]}
    config["runs"]["huge-full"] = {"base": "huge", **kept, **FULL}
    config["sources"]["pairs"] = {"path": "data/preferences_sample.json", "format": "preference"}
    config["datasets"]["pairs"] = {"sources": ["pairs"]}
    config["runs"]["huge-pairs"] = {**kept, **FULL, "base": "huge", "dataset": "pairs", "dpo": {}}
    config["runs"]["unchecked"] = {"base": "huge", **kept, **FULL, "check_memory": False}


def test_a_dry_run_tells_what_cannot_fit_below_its_plan(tmp_path):
    options = ("--configfile", project(tmp_path, too_large), "--directory", tmp_path / "work")
    done = snakemake("-n", *options)
    assert done.returncode == 0, done.stderr
    *_, first, second = done.stderr.splitlines()
    for last, name in ((first, "full"), (second, "pairs")):
        assert last.startswith(f"memory: runs.huge-{name} can't fit: weights (")
        assert ", and this machine has " in last or ", and the GPU has " in last
    assert done.stderr.count("memory: ") == 2  # not of tickets-lora, nor of what is not checked


def test_a_run_that_cannot_fit_starts_no_job(tmp_path):
    options = ("--configfile", project(tmp_path, too_large), "--directory", tmp_path / "work")
    done = snakemake("--cores", "1", *options, "results/runs/huge-full/manifest.json")
    assert done.returncode
    assert "runs.huge-full can't fit: weights (" in done.stderr
    assert "set check_memory: false for runs that you want tried all the same" in done.stderr
    assert not (tmp_path / "work/results/sources").exists()


def test_a_gpu_of_no_size_is_a_fault(tmp_path):
    config = {**run(), "cluster": {"gpu_memory_gib": 0}}
    assert any(
        "cluster.gpu_memory_gib: 0 is out of range" in one for one in faults(tmp_path, config)
    )
