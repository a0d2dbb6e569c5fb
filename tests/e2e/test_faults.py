"""However it ends, no process stays, nothing half-written counts, and the next run finishes."""

from __future__ import annotations

import shutil
import signal

import pytest

from staleness.project import Project
from workflow import Workflow, finish, sums

pytestmark = pytest.mark.e2e
EVAL = "results/eval/s.r-2"
LATENCY, ANSWERS = f"{EVAL}/latency.json", f"{EVAL}/generations.jsonl"


@pytest.fixture(scope="module")
def measured(tmp_path_factory, warm):
    """Return the folder of a small project whose tuned model was measured and asked."""
    project = Project(tmp_path_factory.mktemp("measured") / "project")
    project.config["latency"]["requests_per_cell"] = 100  # some seconds, to be killed in
    project.write_config()
    finish(project.folder, *measuring(project.folder), environment=warm)
    return project.folder


def measuring(folder):
    """Return what makes these two results, and no others, of a copy of the project."""
    return LATENCY, ANSWERS, "--configfile", folder / "config/config.yaml"


def unmeasured(measured, tmp_path):
    """Return a copy of the project in which the model's latency is to be measured."""
    folder = tmp_path / "project"
    shutil.copytree(measured, folder, symlinks=True)
    (folder / LATENCY).unlink()
    return folder


@pytest.mark.parametrize("ending", ["ctrl-c", "kill -9"])
def test_no_server_outlives_the_workflow(measured, tmp_path, warm, ending):
    folder = unmeasured(measured, tmp_path)
    run = Workflow(folder, *measuring(folder))
    run.until(run.engines)
    if ending == "ctrl-c":
        run.signal(signal.SIGINT)
    else:
        run.process.kill()
    run.wait(60)
    run.assert_gone()
    assert not (folder / LATENCY).exists()
    again = finish(folder, *measuring(folder), environment=warm)
    assert again.jobs()["measure_latency"] == again.jobs()["serve_model"] == 1
    assert again.jobs()["train_adapter"] == 0


def test_a_failed_measurement_ends_the_server_and_loses_nothing(measured, tmp_path, warm):
    """The engine is killed under the consumers: they fail, and say what happened."""
    folder = unmeasured(measured, tmp_path)
    before = sums(folder)
    run = Workflow(folder, *measuring(folder))
    run.until(run.engines)
    for process in run.engines():
        process.kill()
    assert run.wait(120) != 0
    run.assert_gone()
    assert "error:" in run.text()
    assert not (folder / LATENCY).exists()
    assert sums(folder) == before
    again = finish(folder, *measuring(folder), environment=warm)
    assert again.jobs()["measure_latency"] == again.jobs()["serve_model"] == 1
    assert again.jobs()["train_adapter"] == 0


def test_a_killed_consumer_costs_the_others_nothing(measured, tmp_path, warm):
    """What another consumer of the same server had finished stays, and is not made again."""
    folder = unmeasured(measured, tmp_path)
    made = {"measure_latency": folder / LATENCY, "generate_answers": folder / ANSWERS}
    made["generate_answers"].unlink()
    run = Workflow(folder, *measuring(folder))
    run.until(lambda: any(path.exists() for path in made.values()))
    first = next(rule for rule, path in made.items() if path.exists())
    (other,) = set(made) - {first}
    for process in run.left():
        if f"{other}.py" in " ".join(process.cmdline()):
            process.kill()
    assert run.wait(120) != 0
    run.assert_gone()
    assert made[first].exists()
    again = finish(folder, *measuring(folder), environment=warm)
    assert again.jobs()[other] == again.jobs()["serve_model"] == 1
    assert again.jobs()[first] == 0


def test_a_failed_rerun_leaves_the_former_result(tmp_path):
    """A setting that no row survives is tried and taken back: nothing was lost, nothing runs."""
    project = Project(tmp_path / "project")
    project.run("data")
    before = vouched(project.folder)
    length = project.config["datasets"]["d"]["clean"][1]
    length["min_answer_chars"] = 100
    project.write_config()
    failed = project.snakemake("--cores", "all", "data")
    assert failed.returncode != 0
    assert "none of 90 rows can be used" in failed.stdout + failed.stderr
    assert "The former result of clean_dataset d is as it was" in failed.stdout + failed.stderr
    assert vouched(project.folder) == before
    assert not (project.folder / "results/.previous").exists()
    assert "clean_dataset d" in project.planned("data")
    length["min_answer_chars"] = 1
    project.write_config()
    assert project.planned("data") == set()


ADAPTER = "results/runs/s.r-2/manifest.json"


def trained(folder, warm):
    """Return a small project after its training, and what makes it so again."""
    project = Project(folder)
    project.config["runs"]["s"]["training"] |= {"max_steps": 60, "save_steps": 5, "eval_steps": 5}
    project.write_config()
    arguments = [ADAPTER, "--configfile", project.path("config/config.yaml")]
    finish(folder, *arguments, environment=warm)
    return folder, arguments


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path, warm):
    """Workflow and trainer are killed between two checkpoints; the next run continues."""
    folder, arguments = trained(tmp_path / "project", warm)
    run = folder / "results/runs/s.r-2"
    before = (run / "SHA256SUMS").read_bytes()
    shutil.rmtree(run)
    killed = Workflow(folder, *arguments)
    killed.until(lambda: any(run.glob("checkpoints/*/checkpoint-*/COMPLETE.json")))
    killed.signal(signal.SIGKILL)
    killed.wait(60)
    killed.assert_gone()
    assert not (run / "manifest.json").exists()
    again = finish(folder, *arguments)
    assert "continuing from checkpoint-" in again.text()
    assert set(again.jobs()) == {"train_adapter"}
    assert (run / "SHA256SUMS").read_bytes() == before

    # The same work in another folder, at another time: manifests and records byte by byte.
    elsewhere, _ = trained(tmp_path / "further/down/project", warm)
    assert vouched(elsewhere) == vouched(folder)
    assert len(vouched(folder)) > 15


def vouched(folder):
    """Return path -> bytes of every manifest, sum and record below results/."""
    results = folder / "results"
    found = [*results.rglob("manifest.json"), *results.rglob("*SHA256SUMS")]
    found += results.glob(".provenance/*/*.json")
    return {str(path.relative_to(results)): path.read_bytes() for path in found}
