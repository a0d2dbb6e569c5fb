"""On a real Slurm: a time limit, preemption, a drained node cost nothing but time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from cluster import missing, processes_of, said, slurm

from sftflow import clusterchecks
from sftflow.findings import OK
from sftflow.manifests import read_manifest
from staleness.project import SECRETS, Project, jobs_in

pytestmark = pytest.mark.e2e

TRAINED = "results/runs/s.r-2"
TRAINING = "train_adapter_wildcards_s.r-2"
SMALL = {
    "SFTFLOW_SLURM_CORES": "2",
    "SFTFLOW_SLURM_MEM_MB": "4000",
    "SFTFLOW_SLURM_GPUS": "2",
    "SFTFLOW_SLURM_HOURS": "4",
    "SFTFLOW_SLURM_MAX_HOURS": "12",
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

    def __init__(self, project: Project, partitions: Path) -> None:
        """Start it; what it prints goes to a file."""
        self.project = project
        self.output = project.folder / f"run-{time.monotonic_ns()}.txt"
        environment = {"SNAKEMAKE_SLURM_PARTITIONS": str(partitions), **SMALL, **SECRETS}
        command = [Path(sys.executable).parent / "snakemake", "--profile", "profiles/slurm"]
        # A cluster would be asked less often.
        command += ["--slurm-init-seconds-before-status-checks", "2"]
        command += ["--seconds-between-status-checks", "2", "--latency-wait", "5"]
        command += ["--retries", "3"]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                command,
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

    def stop_training(self) -> None:
        """Stop the training, once it has come further than its last checkpoint.

        Slurm has it go on (SIGCONT) when it ends the job, so it can't be through before.
        """
        before = self.checkpoint()
        self.until(lambda: self.checkpoint() > before)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                mine = process.cwd() == str(self.project.folder)
                if mine and f"{TRAINED}/manifest.json" in process.cmdline():
                    process.suspend()

    def checkpoint(self) -> int:
        """Return the step of the training's last whole checkpoint."""
        found = self.project.folder.glob(f"{TRAINED}/checkpoints/*/checkpoint-*/COMPLETE.json")
        return max((int(path.parent.name.split("-")[1]) for path in found), default=0)

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
    """Return the small project, what was said of its run, and what was seen of a training in it.

    That training's time limit comes, then its job is requeued, then cancelled on a drained node.
    """
    project = Project(tmp_path_factory.mktemp("clustered") / "project")
    project.config["runs"]["s"]["training"] |= STEPS
    project.config["runs"]["shared"] = SHARED
    project.config["cluster"] = {"light_stages": "local"}
    project.write_config()
    # Two nodes are one here, with a task for each.
    project.replace(
        "profiles/slurm/config.yaml", "  train_adapter:\n", "  train_adapter:\n    nodes: 1\n"
    )
    run = Invocation(project, cluster.partitions)

    def job(state: str) -> list[str]:
        return run.until(lambda: cluster.jobs(TRAINING, state))[0].split()

    try:
        run.stop_training()
        first, _ = job("RUNNING")
        said("scontrol", "update", f"jobid={first}", "timelimit=1")  # minutes
        run.until(lambda: first in [number for number, *_ in cluster.ended()])

        run.stop_training()
        second, limit = job("RUNNING")
        shown = said("scontrol", "--details", "show", "job", second)
        shown += said("scontrol", "write", "batch_script", second, "-")
        said("scontrol", "requeue", second)
        job("PENDING")
        # Slurm would wait two minutes before it starts it again.
        said("scontrol", "update", f"jobid={second}", "starttime=now")

        run.stop_training()
        cluster.update("drain")
        said("scancel", second)
        third, _ = job("PENDING")
        cluster.update("resume")
        return project, run.finish(), (first, second, third), limit, shown
    finally:
        run.process.kill()  # if it has not ended; its jobs are cancelled with the cluster
        run.process.wait()


def test_the_small_project_runs_to_the_report(finished, cluster):
    project, text, *_ = finished
    assert (project.folder / "results/report.html").exists()
    submitted = dict(re.findall(r"SLURM jobid (\d+) \(log: \S*/slurm_logs/([^/]+)", text))
    assert set(submitted) == {number for number, *_ in cluster.ended()}
    ended = {(submitted[number], *how) for number, *how in cluster.ended()}
    assert ("rule_merge_adapter", "COMPLETED", "batch") in ended
    assert any("serve_model" in job and place == "accel" for job, _, place in ended)
    assert not any("ingest_source" in job for job, *_ in ended)  # light stages are local


def test_slurm_and_its_logs_hold_no_secret_of_the_environment(finished, cluster):
    project, *_, shown = finished
    folders = (project.folder / ".snakemake", cluster.folder)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    kept = [shown.encode(), *(path.read_bytes() for path in files)]
    assert sum(b"train_adapter" in text for text in kept) > 2  # it finds what is there
    assert not [
        name for name, secret in SECRETS.items() for text in kept if secret.encode() in text
    ]


def test_the_doctor_warns_of_what_is_unlike_and_of_nothing_else(finished, cluster, monkeypatch):
    monkeypatch.setenv(clusterchecks.MAP, str(cluster.partitions))
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    found = clusterchecks.cluster_findings()
    version = said("sinfo", "--version").split()[1]
    assert {"munge", "Slurm", "partitions", "Slurm's GPUs"} == {finding.about for finding in found}
    assert [finding.said for finding in found if finding.level != OK] == [
        f"version {version}; ended jobs are forgotten after 2 s and no accounts are kept: that a "
        "job was killed is noticed some minutes later"
    ]


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


def test_a_training_that_was_ended_thrice_went_on_to_the_same_bytes(finished, cluster):
    """By its time limit, by a requeue, by somebody on a drained node; never from the beginning."""
    project, text, (first, second, third), limit, _ = finished
    states = {number: state for number, state, _ in cluster.ended()}  # the last of each
    # Slurm looks at limits twice a minute: the signal before comes first, or the limit itself.
    assert states[first] in ("FAILED", "TIMEOUT")
    assert (states[second], states[third]) == ("CANCELLED", "COMPLETED")
    assert [number for number, *_ in cluster.ended()].count(second) == 2  # it was requeued
    assert limit == "8:00:00" and text.count("Trying to restart job") == 2
    log = (project.folder / "results/logs/train_adapter/s.r-2.log").read_text()
    steps = STEPS["max_steps"]  # the last attempt had fewer to go
    assert f"{steps}/{steps} steps" not in log
    resumed = (project.folder / TRAINED / "SHA256SUMS").read_bytes()
    shutil.rmtree(project.folder / TRAINED)
    assert project.run(f"{TRAINED}/manifest.json") == {"train_adapter s.r-2"}
    assert (project.folder / TRAINED / "SHA256SUMS").read_bytes() == resumed


def test_a_killed_test_leaves_no_slurm(tmp_path):
    """Kill -9 of whoever started it ends the daemons and what they run, and nothing else."""
    if why := missing():
        pytest.skip(why)
    script = "import sys, time; from pathlib import Path; from cluster import said, slurm\n"
    script += "with slurm(Path(sys.argv[1])):\n"
    script += "    said('sbatch', '--output=/dev/null', '--wrap=setsid sleep 600')\n"
    script += "    print('runs', flush=True); time.sleep(600)\n"
    test = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "slurm"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
    )
    try:
        assert test.stdout.readline() == b"runs\n"
        names = {process.name() for process in processes_of(tmp_path / "slurm")}
        assert {"munged", "slurmctld", "slurmd"} <= names
    finally:
        test.kill()
        test.wait()
        test.stdout.close()
    end = time.monotonic() + 120
    while processes_of(tmp_path / "slurm"):
        assert time.monotonic() < end, processes_of(tmp_path / "slurm")
        time.sleep(0.2)
