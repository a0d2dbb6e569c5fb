"""What the profile of Kubernetes asks for each job, as a dry run shows it.

The executor is no part of the locked environment (envs/kubernetes.txt): where it is not installed,
a stand-in takes its options.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_config import SMALL

from sftflow import kubernetesjobs

REPO = Path(__file__).parents[2]
STAND_IN = """\
from dataclasses import dataclass, field
from typing import List, Optional
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    namespace: str = field(default="default", metadata={"help": ""})
    persistent_volumes: List[str] = field(
        default_factory=list, metadata={"help": "", "nargs": "+"}
    )

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=True,
    job_deploy_sources=True,
    auto_deploy_default_storage_provider=True,
)

class Executor(RemoteExecutor):
    def run_job(self, job): ...
    def cancel_jobs(self, active_jobs): ...
    async def check_active_jobs(self, active_jobs):
        yield
"""
JOB = re.compile(r"^rule (\w+):\n((?:    .*\n)+)", re.MULTILINE)
PIN = re.compile(r"^([a-z0-9-]+)==(\S+) \\$", re.MULTILINE)


@pytest.fixture
def asked(tmp_path):
    """Return rule -> what its job asks for."""
    path = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    if importlib.util.find_spec(kubernetesjobs.PLUGIN) is None:
        (tmp_path / kubernetesjobs.PLUGIN).mkdir()
        (tmp_path / kubernetesjobs.PLUGIN / "__init__.py").write_text(STAND_IN)
        path.append(str(tmp_path))
    (tmp_path / "rows.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    (tmp_path / "config.yaml").write_text(SMALL)
    command = [Path(sys.executable).parent / "snakemake", "-n", "--profile", "profiles/kubernetes"]
    command += ["--directory", tmp_path / "work", "--configfile", tmp_path / "config.yaml"]
    environment = os.environ | {"PYTHONPATH": ":".join(path), "SFTFLOW_K8S_MEM_MB": "32000"}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    bodies = dict(JOB.findall(done.stdout))
    return {
        rule: dict(re.findall(r"(\w+)=([^,\s]+)", re.search(r"resources: (.*)", body)[1]))
        for rule, body in bodies.items()
        if "resources: " in body
    }


def test_what_pods_ask_for(asked):
    """Results are files on a shared volume: Snakemake asks for no object storage."""
    training, reading = asked["train_adapter"], asked["ingest_source"]
    assert (training["gpu"], training["gpu_manufacturer"]) == ("1", "nvidia")
    assert training["scale"] == "0"  # without it a pod has no limit, and so no GPU
    assert training["mem_mb"] == "32000" and reading["mem_mb"] == "8000"
    assert "gpu" not in reading


def test_its_lock_changes_no_package_of_the_others():
    """It is installed on top of either of them."""
    pins = {
        name: dict(PIN.findall((REPO / f"envs/{name}.txt").read_text()))
        for name in ("kubernetes", "cpu", "gpu")
    }
    assert "snakemake-executor-plugin-kubernetes" in pins["kubernetes"]
    for lock in ("cpu", "gpu"):
        shared = pins[lock].keys() & pins["kubernetes"].keys()
        assert len(shared) > 5
        assert {n: pins["kubernetes"][n] for n in shared} == {n: pins[lock][n] for n in shared}
