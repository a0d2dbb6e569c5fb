"""The doctor: each check says ok on a good machine, and fires on a planted fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from sftflow import clusterchecks, configchecks, machinechecks, packagechecks
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


SINFO = (
    "cpu|up|4|(null)|3-00:00:00|250000+|64\n"
    "gpu*|up|2|gpu:a100:4|infinite|500000|96\n"
    "old|down|1|(null)|infinite|1|1\n"
)
BIG = "infinite|500000|64"
GOOD = "partitions:\n  gpu: { max_gpu: 8, max_runtime: 9d }"
SHOWN = """\
AccountingStorageType   = accounting_storage/none
AuthInfo                = socket=/run/of/slurm
MinJobAge = {age} sec
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Return a function that plants what Slurm's commands say."""
    for name in [name for name in os.environ if name.startswith(("SFTFLOW_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv(clusterchecks.MAP, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def plant(
        ping="Slurmctld(primary) at a is UP",
        sinfo=SINFO,
        age=300,
        munge="exit 0",
        launches=((1, 1),),
    ):
        answers = {
            "scontrol": f'[ "$1" = ping ] && echo "{ping}" || echo "{SHOWN.format(age=age)}"',
            "sinfo": f'printf "{sinfo}"',
            "munge": munge,
            "sacctmgr": "exit 1",  # no accounts are kept
        }
        for name in (*clusterchecks.COMMANDS, "munge", "sacctmgr"):
            script = tmp_path / name
            script.write_text("#!/bin/sh\n" + answers.get(name, "exit 0") + "\n")
            script.chmod(0o755)
        return clusterchecks.cluster_findings(launches)

    return plant


def test_a_good_cluster(slurm):
    found = slurm()
    assert levels(found) == [OK] * 6
    assert "gpu, the cluster's default" in found[2].said


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ({"ping": "Slurmctld(primary) at a is DOWN"}, "does not answer"),
        ({"munge": 'echo "munged is not at $2" >&2; exit 6'}, "not at --socket=/run/of/slurm"),
        ({"sinfo": f"cpu|down|4|(null)|{BIG}\\n"}, "none is up"),
        ({"sinfo": f"cpu|up|4|gpu:1|{BIG}\\n"}, "no default one"),
        ({"sinfo": f"cpu*|up|4|(null)|{BIG}\\n"}, "no node has any"),
        ({"sinfo": f"cpu*|up|4|(null)|{BIG}\\nfast|up|4|gpu:2|{BIG}\\n"}, "go to cpu, without any"),
        ({"sinfo": "all*|up|4|gpu:1|12:00:00|500000|64\\n"}, "time limit is 12 h, but jobs ask"),
        ({"sinfo": "all*|up|4|gpu:1|30:00|500000|64\\n"}, "time limit is 0.5 h, but jobs ask"),
        ({"sinfo": "all*|up|4|gpu:1|infinite|32000|64\\n"}, "is 32000 MB, but jobs ask for 64000"),
        ({"sinfo": "all*|up|4|gpu:1|infinite|1|64\\n"}, "counts no memory"),
        ({"sinfo": "all*|up|4|gpu:1|infinite|500000|4\\n"}, "ask for 8 cores, nodes have 4"),
    ],
)
def test_a_cluster_that_lacks_something(slurm, planted, words):
    faults = [finding for finding in slurm(**planted) if finding.level == FAULT]
    assert len(faults) == 1
    assert words in faults[0].said and faults[0].todo


def test_more_gpus_for_a_job_than_a_node_has(slurm):
    sinfo = f"all*|up|4|gpu:a100:4(S:0,1),mps:400|{BIG}\\n"
    assert FAULT not in levels(slurm(sinfo=sinfo, launches=[(4, 1), (16, 4)]))
    (wide,) = [f for f in slurm(sinfo=sinfo, launches=[(8, 1), (16, 4)]) if f.level == FAULT]
    assert wide.said == "a job asks for 8 on a node, which has 4" and "num_nodes" in wide.todo


def test_a_cluster_that_forgets_jobs_soon_and_keeps_no_accounts(slurm):
    late = [finding for finding in slurm(age=10) if finding.level == WARNING]
    assert len(late) == 1 and "forgotten after 10 s" in late[0].said


def test_the_limits_of_the_partition_with_gpus_count_for_those(slurm, monkeypatch):
    monkeypatch.setenv(clusterchecks.PARTITION, "cpu,gpu")
    short = f"cpu|up|4|(null)|{BIG}\\ngpu|up|2|gpu:2|6:00:00|500000|96\\n"
    assert [finding.said for finding in slurm(sinfo=short) if finding.level == FAULT] == [
        "the largest time limit is 6 h, but jobs ask for 24 h"
    ]
    monkeypatch.setenv(clusterchecks.GPUS, "0")
    assert FAULT not in levels(slurm(sinfo=short))


def test_partitions_that_the_environment_names(slurm, monkeypatch, tmp_path):
    monkeypatch.setenv(clusterchecks.PARTITION, "gpu")
    assert FAULT not in levels(slurm())
    monkeypatch.setenv(clusterchecks.PARTITION, "old")
    assert any("old, which is not up" in finding.said for finding in slurm())
    monkeypatch.delenv(clusterchecks.PARTITION)
    table = tmp_path / "partitions.yaml"
    table.write_text("partitions:\n  cpu: { max_runtime: 2d }\n  dgx: { max_gpu: 8 }\n")
    monkeypatch.setenv(clusterchecks.MAP, str(table))
    assert [f.said for f in slurm() if f.level == FAULT] == [
        f"{table}: dgx names dgx, which is not up"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cpu: 1\n", "missing 'partitions' section"),
        ("partitions:\n  cpu: { max_time: 2d }\n", "max_time"),
        ("partitions:\n  cpu: { max_runtime: soon }\n", "Invalid time format"),
        ("partitions:\n  gpu: { max_gpu: 8 }\n", "jobs without GPUs find none"),
        ("partitions:\n  gpu: { max_runtime: 2d }\n", "jobs with GPUs find none"),
        (f"{GOOD}\n  cpu: {{ max_runtime: 4d }}\n", "jobs of 96 h, but takes 72 h"),
        (f"{GOOD}\n  cpu: {{ max_runtime: 3d, max_gpu: 1 }}\n", "cpu is said to have GPUs"),
        (None, "not found"),
    ],
)
def test_a_map_with_which_jobs_find_no_partition(slurm, monkeypatch, tmp_path, text, words):
    table = tmp_path / "partitions.yaml"
    if text is not None:
        table.write_text(text)
    monkeypatch.setenv(clusterchecks.MAP, str(table))
    faults = [finding for finding in slurm() if finding.level == FAULT]
    assert len(faults) == 1 and words in faults[0].said and "\n" not in faults[0].said


def test_the_limits_of_the_partition_to_which_a_map_sends_gpus_count(slurm, monkeypatch, tmp_path):
    table = tmp_path / "partitions.yaml"
    table.write_text(
        "partitions:\n  long: { max_runtime: 9d, max_gpu: 0 }\n"
        "  short: { max_runtime: 6h, max_gpu: 2 }\n"
    )
    monkeypatch.setenv(clusterchecks.MAP, str(table))
    both = f"long|up|4|gpu:2|{BIG}\\nshort|up|2|gpu:2|6:00:00|500000|96\\n"
    assert [finding.said for finding in slurm(sinfo=both) if finding.level == FAULT] == [
        "the largest time limit is 6 h, but jobs ask for 24 h"
    ]


def test_the_last_attempt_of_a_job_fits_too(slurm, monkeypatch):
    day = "all*|up|4|gpu:1|1-00:00:00|100000|64\n"
    late = [finding for finding in slurm(sinfo=day) if finding.level == WARNING]
    assert [finding.todo for finding in late] == [
        "export SFTFLOW_SLURM_MAX_HOURS=24",
        "export SFTFLOW_SLURM_MAX_MEM_MB=90000",
    ]
    for finding in late:
        monkeypatch.setenv(*finding.todo.removeprefix("export ").split("="))
    assert set(levels(slurm(sinfo=day))) == {OK}
    for name in ("MAX_HOURS", "CORES"):
        monkeypatch.setenv(f"SFTFLOW_SLURM_{name}", "a day")
        assert any("is no number" in finding.said for finding in slurm(sinfo=day))
        monkeypatch.delenv(f"SFTFLOW_SLURM_{name}")


def test_a_machine_without_slurm(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    (found,) = clusterchecks.cluster_findings()
    assert found.level == OK and "none here" in found.said


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
