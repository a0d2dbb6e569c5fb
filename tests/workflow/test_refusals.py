"""What a command line leaves alone, and what ends it before any job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dryruns import planned, project, snakemake

from sftflow.devices import gpu_count, quantisation_fault
from sftflow.trackers import missing_package

REPO = Path(__file__).parents[2]


def test_a_dry_run_writes_nothing(tmp_path):
    planned("--directory", tmp_path)
    assert not (tmp_path / "results").exists()


def test_faults_of_the_config_end_it_before_any_job(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("sources: {a: {path: gone.csv, fromat: csv}}\ndatasets: {}\nruns: {}\n")
    done = snakemake("--cores", "1", "--configfile", config, "--directory", tmp_path)
    assert done.returncode == 1
    assert "config error" in done.stderr
    assert "sources.a.fromat: unknown key; did you mean 'format'?" in done.stderr
    assert "'bases' is missing" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "results").exists()


def test_an_override_from_the_command_line_is_checked_too(tmp_path):
    done = snakemake("-n", "--directory", tmp_path, "--config", "latncy={}")
    assert done.returncode == 1
    assert "latncy: unknown key; did you mean 'latency'?" in done.stderr


def test_a_config_outside_the_repository_finds_its_own_files(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    (tmp_path / "mine.yaml").write_text(
        "sources: {mine: {path: rows.jsonl}}\n"
        "datasets: {talk: {sources: [mine]}}\n"
        "bases: {tiny: {make: {}, template: chatml}}\n"
        "runs: {talk-lora: {base: tiny, dataset: talk, max_length: 256}}\n"
    )
    work = tmp_path / "elsewhere"
    jobs = planned("--configfile", tmp_path / "mine.yaml", "--directory", work)
    assert jobs["ingest_source"] == 1
    assert (
        "tickets"
        not in snakemake("-n", "--configfile", tmp_path / "mine.yaml", "--directory", work).stdout
    )


def test_a_second_workflow_in_the_folder_says_so_and_stops(tmp_path):
    hold = (
        f"import sys; sys.path.insert(0, {str(REPO / 'scripts')!r})\n"
        "from sftflow.workfolder import hold_folder\n"
        "hold_folder('results/.lock'); print(flush=True); sys.stdin.read()\n"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", hold], cwd=tmp_path, stdin=-1, stdout=-1, text=True
    )
    try:
        first.stdout.readline()
        done = snakemake("--cores", "1", "--directory", tmp_path)
        assert done.returncode == 1
        assert f"another run (pid {first.pid} on " in done.stderr
        assert not (tmp_path / "results/sources").exists()
        # Looking is allowed.
        assert planned("--directory", tmp_path)["train_adapter"] == 1
    finally:
        first.communicate("")


def test_a_folder_that_can_only_be_read(tmp_path):
    mounted = f"mount -t tmpfs -o ro,size=1m tmpfs '{tmp_path}' && echo mounted"
    run = f"{Path(sys.executable).parent / 'snakemake'} --cores 1 --directory '{tmp_path}'"
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", "--mount", *own, "sh", "-c", f"{mounted} && exec {run}"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    if "mounted" not in done.stdout:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 1
    assert f"{tmp_path} can't be written to; choose another folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("config/gone.yaml", "there is no file config/gone.yaml"),
        ("config/examples", "config/examples is a folder"),
    ],
)
def test_a_config_that_is_not_there(config, words):
    """Snakemake reads it before the workflow, which can't put its FileNotFoundError into words."""
    for target in ("run", "why"):
        command = ["make", "-n", target, f"CONFIG={config}"]
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert f"CONFIG: {words}" in done.stderr


@pytest.mark.skipif(quantisation_fault() is None, reason="it can run here")
def test_a_training_that_cannot_run_here_ends_it_before_any_job(tmp_path):
    def edit(config):
        config["runs"]["tickets-lora"]["method"] = "qlora"

    command = ("--configfile", project(tmp_path, edit), "--directory", tmp_path / "work")
    looked = snakemake("-n", *command)
    assert looked.returncode == 0 and "train_adapter" in looked.stdout
    assert "this machine: runs.tickets-lora.method: qlora needs " in looked.stderr
    done = snakemake("--cores", "1", *command)
    assert done.returncode == 1
    assert "runs.tickets-lora.method: qlora needs " in done.stderr
    assert not (tmp_path / "work/results/sources").exists()
    assert snakemake("--cores", "1", *command, "results/sources/crm/manifest.json").returncode == 0


@pytest.mark.skipif(gpu_count() > 0, reason="it may run here")
def test_a_launch_that_this_machine_lacks_something_for_is_told_by_a_dry_run(tmp_path):
    def edit(config):
        launch = {"num_processes": 2, "strategy": "deepspeed2"}
        config["runs"]["tickets-lora"]["launch"] = launch

    command = ("--configfile", project(tmp_path, edit), "--directory", tmp_path / "work")
    looked = snakemake("-n", *command)
    assert looked.returncode == 0
    said = (
        "this machine: runs.tickets-lora: launch.strategy deepspeed2 needs GPUs and there are none"
    )
    assert said in looked.stderr


@pytest.mark.skipif(missing_package(["trackio"]) is None, reason="it is installed")
def test_a_tracker_that_is_missing_ends_it_before_any_job(tmp_path):
    def edit(config):
        config["runs"]["tickets-lora"]["training"]["report_to"] = ["trackio"]

    command = ("--configfile", project(tmp_path, edit), "--directory", tmp_path / "work")
    done = snakemake("--cores", "1", *command)
    assert done.returncode == 1
    assert "training.report_to: trackio is not installed; run `python -m pip" in done.stderr
    assert not (tmp_path / "work/results/sources").exists()


def test_a_key_that_is_not_set_ends_it_before_any_job(tmp_path):
    def edit(config):
        endpoint = {"base_url": "http://localhost:1/v1", "model": "m", "api_key_env": "NO_SUCH"}
        config["judges"] = {"j": {"endpoint": endpoint}}

    command = ("--configfile", project(tmp_path, edit), "--directory", tmp_path / "work")
    sentence = "judges.j.endpoint.api_key_env: the environment variable NO_SUCH is not set"
    done = snakemake("--cores", "1", *command)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert not (tmp_path / "work/results/sources").exists()
    assert sentence in snakemake("-n", *command).stderr
    keyed = snakemake("-n", *command, env=dict(os.environ, NO_SUCH="x"))
    assert sentence not in keyed.stderr


def test_lint_finds_nothing():
    done = snakemake("--lint")
    assert "good condition" in done.stdout + done.stderr


def test_every_job_finds_the_scripts_without_an_activated_environment(tmp_path):
    bare = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"} | {"PATH": "/usr/bin:/bin"}
    done = snakemake("-n", "--directory", tmp_path, env=bare)
    assert done.returncode == 0, done.stderr
