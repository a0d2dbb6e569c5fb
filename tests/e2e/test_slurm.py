"""On a real Slurm: a cancelled training, a drained node and several tasks cost nothing but time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster import missing, said, slurm

from sftflow import clusterchecks
from sftflow.findings import OK
from sftflow.manifests import read_manifest
from staleness.project import Project, jobs_in

pytestmark = pytest.mark.e2e

TRAINED = "results/runs/s.r-2"
SMALL = {
    "SFTFLOW_SLURM_CORES": "2",
    "SFTFLOW_SLURM_MEM_MB": "4000",
    "SFTFLOW_SLURM_GPUS": "2",
}
STEPS = {"max_steps": 60, "save_steps": 5, "eval_steps": 30}
SHARED = {
    "base": "t",
    "dataset": "d",
    "max_length": 128,
    "measure": False,
    "launch": {"num_processes": 2, "num_nodes": 2},
    "training": {**STEPS, "per_device_train_batch_size": 2},
}


class Invocation:
    """The project's workflow, as a user of a cluster starts it."""

    def __init__(self, project: Project, partitions: Path, *arguments: str) -> None:
        """Start it; what it prints goes to a file."""
        self.output = project.folder / f"run-{time.monotonic_ns()}.txt"
        environment = {"SNAKEMAKE_SLURM_PARTITIONS": str(partitions), **SMALL}
        command = [Path(sys.executable).parent / "snakemake", "--profile", "profiles/slurm"]
        # A cluster would be asked less often. Its two nodes are one, with a task for each.
        command += ["--slurm-init-seconds-before-status-checks", "2"]
        command += ["--seconds-between-status-checks", "2", "--latency-wait", "5"]
        command += ["--set-resources", "train_adapter:nodes=1", "train_adapter:mem_mb=4000"]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=project.folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        """Return all that it has printed."""
        return self.output.read_text(errors="replace")

    def until(self, condition, timeout_s: float = 600):
        """Return what ``condition`` returns, once that is true."""
        end = time.monotonic() + timeout_s
        while not (found := condition()):
            assert self.process.poll() is None, f"it ended:\n{self.text()[-3000:]}"
            assert time.monotonic() < end, f"not seen in {timeout_s} s:\n{self.text()[-3000:]}"
            time.sleep(0.1)
        return found

    def finish(self) -> str:
        """Wait for its success; return what it has printed."""
        try:
            assert self.process.wait(1500) == 0, self.text()[-6000:]
        finally:
            self.process.kill()
        return self.text()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Return a Slurm of one node that stands for two."""
    if why := missing():
        pytest.skip(why)
    with slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def finished(cluster, tmp_path_factory):
    """Return the small project and what was said of its run, in which a training was cancelled."""
    project = Project(tmp_path_factory.mktemp("clustered") / "project")
    project.config["runs"]["s"]["training"] |= STEPS
    project.config["runs"]["shared"] = SHARED
    project.config["cluster"] = {"light_stages": "local"}
    project.write_config()
    run = Invocation(project, cluster.partitions)
    try:
        run.until(
            lambda: any(project.folder.glob(f"{TRAINED}/checkpoints/*/checkpoint-*/COMPLETE.json"))
        )
        cluster.update("drain")
        said("scancel", *cluster.jobs("train_adapter_wildcards_s.r-2"))
        run.until(lambda: "PENDING rule_train_adapter_wildcards_s.r-2 gpu" in cluster.states())
        cluster.update("resume")
        return project, run.finish(), cluster.states()
    finally:
        run.process.kill()  # if it has not ended; its jobs are cancelled with the cluster
        run.process.wait()


def test_the_small_project_runs_to_the_report(finished):
    project, _, states = finished
    assert (project.folder / "results/report.html").exists()
    assert any("serve_model" in state and state.endswith(" gpu") for state in states)
    assert "COMPLETED rule_merge_adapter_wildcards_s.r-2 cpu" in states
    assert not any("ingest_source" in state for state in states)  # light stages are local


def test_the_doctor_finds_the_cluster_well(finished, cluster, monkeypatch):
    monkeypatch.setenv(clusterchecks.MAP, str(cluster.partitions))
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    found = clusterchecks.cluster_findings()
    assert {finding.level for finding in found} == {OK}
    assert {"munge", "Slurm", "partitions", "Slurm's GPUs"} == {finding.about for finding in found}


def test_a_second_invocation_has_nothing_to_do(finished, cluster):
    project, *_ = finished
    again = Invocation(project, cluster.partitions).finish()
    assert "Nothing to be done" in again and jobs_in(again) == set()


def test_several_tasks_share_a_training(finished):
    """Two tasks, each a node to accelerate, come to the loss of one process with their batch."""
    project, *_ = finished
    shared = read_manifest(project.folder / "results/runs/shared/manifest.json")
    alone = read_manifest(project.folder / TRAINED / "manifest.json")
    assert (shared["processes"], alone["processes"]) == (2, 1)
    assert shared["counts"]["steps"] == alone["counts"]["steps"]
    assert (shared["counts"]["rows"], shared["counts"]["epochs"]) == (74, alone["counts"]["epochs"])
    losses = [manifest["counts"]["best_eval_loss"] for manifest in (shared, alone)]
    assert abs(losses[0] - losses[1]) < 0.05


def test_a_cancelled_training_went_on_to_the_same_bytes(finished):
    project, text, states = finished
    assert "CANCELLED rule_train_adapter_wildcards_s.r-2 gpu" in states
    assert "Trying to restart job" in text
    log = (project.folder / "results/logs/train_adapter/s.r-2.log").read_text()
    steps = STEPS["max_steps"]  # the second attempt had fewer to go
    assert f"{steps}/{steps} steps" not in log
    resumed = (project.folder / TRAINED / "SHA256SUMS").read_bytes()
    shutil.rmtree(project.folder / TRAINED)
    assert project.run(f"{TRAINED}/manifest.json") == {"train_adapter s.r-2"}
    assert (project.folder / TRAINED / "SHA256SUMS").read_bytes() == resumed
