"""The doctor: each check says ok on a good machine, and fires on a planted fault."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from sftflow import configchecks, machinechecks, packagechecks
from sftflow.findings import FAULT, OK, WARNING, fault, lines, ok, warning, will_work

REPO = Path(__file__).parents[2]
Usage = namedtuple("Usage", "total used free")


def levels(found):
    return [finding.level for finding in found]


def test_only_a_fault_ends_in_failure():
    assert will_work([ok("a", "b"), warning("c", "d", "e")])
    assert not will_work([ok("a", "b"), fault("c", "d", "e")])
    assert lines([fault("disk", "full", "make room")]) == [
        "will not work disk           full",
        "                             -> make room",
    ]


@pytest.mark.parametrize(("gib", "level"), [(2, FAULT), (8, WARNING), (64, OK)])
def test_memory(gib, level, monkeypatch):
    monkeypatch.setattr(machinechecks, "memory_bytes", lambda: gib * 2**30)
    monkeypatch.setattr(machinechecks, "GROUP_LIMITS", ())
    assert machinechecks.memory().level == level


def test_the_limit_of_a_container_counts(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machinechecks, "GROUP_LIMITS", (str(limit), str(tmp_path / "none")))
    limit.write_text("3221225472\n")
    assert machinechecks.usable_memory() == 3 * 2**30
    limit.write_text("max\n")
    assert machinechecks.usable_memory() == machinechecks.memory_bytes()


@pytest.mark.parametrize(("gib", "level"), [(1, FAULT), (10, WARNING), (500, OK)])
def test_disk_is_asked_where_results_will_be(gib, level, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        machinechecks.shutil,
        "disk_usage",
        lambda path: (asked.append(path), Usage(0, 0, gib * 2**30))[1],
    )
    assert machinechecks.disk(tmp_path / "not/yet").level == level
    assert asked == [tmp_path]


def test_a_file_system_without_locks(monkeypatch, tmp_path):
    assert machinechecks.locks(tmp_path).level == OK

    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(machinechecks.fcntl, "flock", refuse)
    found = machinechecks.locks(tmp_path)
    assert found.level == FAULT and "No locks available" in found.said


def test_a_small_shared_memory(monkeypatch):
    monkeypatch.setattr(machinechecks.shutil, "disk_usage", lambda _: Usage(0, 0, 64 * 2**20))
    found = machinechecks.shared_memory()
    assert found.level == WARNING and "64 MiB" in found.said


def test_a_proxy_between_a_machine_and_itself(monkeypatch):
    for name in (*machinechecks.PROXIES, "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert machinechecks.proxies().level == OK
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    assert machinechecks.proxies().level == WARNING
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    assert machinechecks.proxies().level == OK


def test_gpus_that_others_use():
    free = ["NVIDIA H200", "570.1", "143360", "4"]
    assert machinechecks.told_gpus([free, free]).level == OK
    found = machinechecks.told_gpus([free, ["NVIDIA H200", "570.1", "143360", "90000"]])
    assert found.level == WARNING and "number 1" in found.said


def test_a_driver_that_is_not_there(monkeypatch):
    monkeypatch.setattr(machinechecks, "gpu_count", lambda: 1)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert machinechecks.gpus().level == FAULT
    monkeypatch.setattr(machinechecks, "gpu_count", lambda: 0)
    assert machinechecks.gpus().level == OK


def test_a_server_is_reached_on_this_machine():
    assert machinechecks.loopback().level == OK


def test_this_environment_is_the_locked_one():
    assert FAULT not in levels(packagechecks.lock(REPO))


@pytest.mark.parametrize(("found", "level"), [("0.0.1", WARNING), (None, FAULT)])
def test_another_package_than_the_lock_names(found, level, monkeypatch):
    real = packagechecks.installed
    other = {"trl": found}
    monkeypatch.setattr(packagechecks, "installed", lambda name: other.get(name, real(name)))
    if found is None:
        monkeypatch.setattr(
            packagechecks, "installed", lambda name: None if name == "trl" else real(name)
        )
    last = packagechecks.lock(REPO)[-1]
    assert last.level == level and "trl" in last.said


SEEN = dict.fromkeys(packagechecks.IMPORTED) | {"cuda": [1, "12.9"], "bf16": True}


def test_what_torch_sees(monkeypatch):
    told = packagechecks.told_imports
    monkeypatch.setattr(packagechecks, "gpu_count", lambda: 1)
    assert levels(told(SEEN)) == [OK, OK, OK]
    assert levels(told(SEEN | {"bf16": False})) == [OK, OK, WARNING]
    without = told(SEEN | {"cuda": [0, None]})
    assert levels(without) == [OK, FAULT] and "ENV=gpu" in without[1].todo
    assert "driver" in told(SEEN | {"cuda": [0, "12.9"]})[1].todo
    broken = told(SEEN | {"vllm": "ImportError: libcudart.so.12"})
    assert broken[0].level == FAULT and "libcudart" in broken[0].said
    monkeypatch.setattr(packagechecks, "gpu_count", lambda: 0)
    assert levels(told(SEEN | {"cuda": [0, None]})) == [OK]


def test_a_package_that_ends_the_process_at_its_import(monkeypatch, tmp_path):
    (tmp_path / "trl.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(packagechecks, "IMPORTED", ("trl",))
    (found,) = packagechecks.imports()
    assert found.level == FAULT and "status 9" in found.said


def config(tmp_path, **more):
    """Return the path of a config of one run, with other parts."""
    parts = {
        "sources": {"mine": {"path": "rows.jsonl"}},
        "datasets": {"talk": {"sources": ["mine"]}},
        "bases": {"tiny": {"make": {"seed": 1}, "template": "chatml"}},
        "runs": {"r": {"base": "tiny", "dataset": "talk", "max_length": 512}},
    }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(parts | more))
    return path


def told(tmp_path, on_cluster=False, **more):
    found = configchecks.config_findings([config(tmp_path, **more)], tmp_path, on_cluster)
    return [finding.said for finding in found if finding.level == FAULT]


HUB = {"tiny": {"hub": "owner/name", "revision": "0" * 40}}
WIDE = {"num_processes": 4, "num_nodes": 2}


def test_what_a_config_asks_for(tmp_path, monkeypatch):
    monkeypatch.setattr(configchecks, "gpu_count", lambda: 0)
    assert "rows.jsonl" in told(tmp_path)[0]
    (tmp_path / "rows.jsonl").write_text("{}\n")
    assert told(tmp_path) == []
    (tmp_path / "model").mkdir()
    shards = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}
    for name in ("config.json", "tokenizer.json", "1.safetensors"):
        (tmp_path / "model" / name).write_text("{}")
    (tmp_path / "model/model.safetensors.index.json").write_text(json.dumps(shards))
    assert "lacks 1 of 2 weight files" in told(tmp_path, bases={"tiny": {"path": "model"}})[0]
    run = {"base": "tiny", "dataset": "talk", "max_length": 512}
    wide = {"runs": {"r": {**run, "launch": WIDE}}}
    assert "this is no job of Slurm" in told(tmp_path, **wide)[0]
    assert told(tmp_path, on_cluster=True, **wide) == []
    assert "qlora needs" in told(tmp_path, runs={"r": {**run, "method": "qlora"}})[0]
    said = told(tmp_path, runs={"r": {**run, "quantize": ["w8a16", "w8a8"]}})
    assert len(said) == 1 and "r+w8a16: vLLM serves this scheme on a GPU only" in said[0]
    assert "sourcez" in " ".join(told(tmp_path, sourcez={}))


def test_models_that_are_to_be_fetched(tmp_path, monkeypatch):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in told(tmp_path, bases=HUB)[0]
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    assert "127.0.0.1 is not reached" in told(tmp_path, bases=HUB)[0]
    done = tmp_path / "results/hub/tiny/manifest.json"
    done.parent.mkdir(parents=True)
    done.write_text("{}")
    assert told(tmp_path, bases=HUB) == []


def test_the_command_tells_programs_and_ends_with_a_status(tmp_path):
    command = [sys.executable, REPO / "scripts/doctor.py", "--quick", "--json"]
    command += ["--directory", tmp_path, "--configfile", config(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = {finding["about"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1 and said["config"]["level"] == FAULT
    assert said["Python"]["level"] == OK and said["locks"]["level"] == OK
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]  # nothing was changed
