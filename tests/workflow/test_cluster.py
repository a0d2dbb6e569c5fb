"""What the profile of Slurm asks for each job, as a dry run shows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
import yte

REPO = Path(__file__).parents[2]
CONFIG = {
    "sources": {"mine": {"path": "rows.jsonl"}},
    "datasets": {"talk": {"sources": ["mine"]}},
    "bases": {
        "tiny": {"make": {"seed": 1}, "template": "chatml"},
        "far": {"hub": "owner/name", "revision": "0" * 40},
    },
    "runs": {
        "one": {"base": "tiny", "dataset": "talk", "launch": {"num_processes": 4}},
        "two": {
            "base": "far",
            "dataset": "talk",
            "measure": False,
            "launch": {"num_processes": 8, "num_nodes": 2},
        },
    },
}
JOB = re.compile(r"^rule (\w+):\n((?:    .*\n)+)", re.MULTILINE)


def resources(tmp_path, **environment) -> dict[str, dict[str, str]]:
    """Return "rule wildcard" -> what the job asks for, servers and those that ask them left out."""
    for run in CONFIG["runs"].values():
        run["max_length"] = 256
    (tmp_path / "rows.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    command = [Path(sys.executable).parent / "snakemake", "-n", "--profile", "profiles/slurm"]
    command += ["--directory", tmp_path, "--configfile", tmp_path / "config.yaml"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SBATCH_", "SFTFLOW_"))}
    done = subprocess.run(
        command, cwd=REPO, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = {}
    for rule, body in JOB.findall(done.stdout):
        lines = dict(re.findall(r"^    (\w+): (.*)$", body, re.MULTILINE))
        name = " ".join([rule, *re.findall(r"=([^,\s]+)", lines.get("wildcards", ""))])
        found[name] = dict(re.findall(r"(\w+)=([^,]+)", lines.get("resources", "")))
    return found


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Return what is asked of a cluster with GPUs."""
    return resources(tmp_path_factory.mktemp("work"), SBATCH_ACCOUNT="lab")


def test_a_training_has_the_gpus_of_its_processes(asked):
    training = asked["train_adapter one"]
    assert (training["gpu"], training["nodes"]) == ("4", "1")
    assert training["runtime"] == "1440" and "signal=TERM" in training["slurm_extra"]
    assert "mpi" not in training and "gres" not in training


def test_a_training_on_two_nodes_is_a_task_on_each(asked):
    training = asked["train_adapter two"]
    assert training["nodes"] == training["tasks"] == "2"
    assert training["gres"] == "gpu:4" and training["mpi"] == "srun" and "gpu" not in training


def test_the_account_is_left_to_sbatch(asked):
    """Given as a resource it would be compared with accounts that a cluster need not keep."""
    assert not any("slurm_account" in job for job in asked.values())


def profile(monkeypatch, **environment):
    """Return rule -> what its third attempt asks for, as the profile alone says it."""
    for name in [name for name in os.environ if name.startswith(("SFTFLOW_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = yte.process_yaml((REPO / "profiles/slurm/config.yaml").read_text())
    asked = said["set-resources"] | {"others": said["default-resources"]}

    def value(text):
        return eval(str(text), {"attempt": 3})

    return {
        rule: {key: value(job[key]) for key in ("mem_mb", "runtime") if key in job}
        for rule, job in asked.items()
    }, said


def test_a_job_that_is_tried_again_has_more(monkeypatch):
    asked, _ = profile(monkeypatch)
    assert asked["train_adapter"] == {"mem_mb": 3 * 64000, "runtime": 3 * 24 * 60}
    assert asked["others"] == {"mem_mb": 3 * 8000, "runtime": 6 * 60}
    assert asked["run_benchmark"] == {"mem_mb": 4000}  # a part of a server's job


def test_a_small_cluster_is_asked_for_what_it_has(monkeypatch):
    bounds = {"SFTFLOW_SLURM_MAX_MEM_MB": "6000", "SFTFLOW_SLURM_MAX_HOURS": "1.5"}
    asked, said = profile(monkeypatch, SBATCH_PARTITION="long,short", **bounds)
    assert max(job["mem_mb"] for job in asked.values()) == 6000
    assert {job["runtime"] for job in asked.values() if "runtime" in job} == {90}
    assert said["default-resources"]["slurm_partition"] == "long,short"


def test_a_cluster_that_counts_no_memory_is_asked_for_none(monkeypatch):
    asked, _ = profile(monkeypatch, SFTFLOW_SLURM_MEM_MB="0")
    assert {job["mem_mb"] for job in asked.values()} == {0}


@pytest.mark.parametrize(("name", "value"), [("MEM_MB", "64G"), ("CORES", "8.5"), ("HOURS", "1d")])
def test_a_variable_that_is_no_number_is_named(monkeypatch, name, value):
    with pytest.raises(SystemExit, match=f"SFTFLOW_SLURM_{name} is '{value}'; write a number"):
        profile(monkeypatch, **{f"SFTFLOW_SLURM_{name}": value})


def test_an_empty_variable_is_as_none(monkeypatch):
    empty = dict.fromkeys(("SBATCH_PARTITION", "SFTFLOW_SLURM_GPUS", "SFTFLOW_SLURM_HOURS"), "")
    assert profile(monkeypatch, **empty) == profile(monkeypatch)


def test_a_cluster_without_gpus_is_asked_for_none(tmp_path):
    asked = resources(tmp_path, SFTFLOW_SLURM_GPUS="0")
    assert {job.get("gpu", "0") for job in asked.values()} == {"0"}
    assert not any("gres" in job for job in asked.values())
    assert asked["train_adapter two"]["nodes"] == "2"
