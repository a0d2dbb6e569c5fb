"""However it ends, no process stays, nothing half-written counts, and the next run finishes."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from staleness.project import Project
from workflow import Workflow, copy, finish, sums

pytestmark = pytest.mark.e2e
TUNED = "tickets-lora"


def unmeasured(finished, folder):
    """Return a copy of a finished folder in which one model's latency is to be measured."""
    copy(finished, folder)
    (folder / f"results/eval/{TUNED}/latency.json").unlink()
    return folder


@pytest.mark.parametrize("ending", ["ctrl-c", "kill -9"])
def test_no_server_outlives_the_workflow(finished, tmp_path, ending):
    folder = unmeasured(finished, tmp_path)
    run = Workflow(folder)
    run.until(run.engines)
    if ending == "ctrl-c":
        run.signal(signal.SIGINT)
    else:
        run.process.kill()
    run.wait(60)
    run.assert_gone()
    assert not (folder / f"results/eval/{TUNED}/latency.json").exists()
    again = finish(folder)
    assert again.jobs()["measure_latency"] == again.jobs()["serve_model"] == 1
    assert again.jobs()["train_adapter"] == 0


def test_a_failed_measurement_ends_the_server_and_loses_nothing(finished, tmp_path):
    """The engine is killed under the consumers: they fail, and say what happened."""
    folder = unmeasured(finished, tmp_path)
    before = sums(folder)
    run = Workflow(folder)
    run.until(run.engines)
    for process in run.engines():
        process.kill()
    assert run.wait(120) != 0
    run.assert_gone()
    assert "error:" in run.text()
    assert not (folder / f"results/eval/{TUNED}/latency.json").exists()
    assert sums(folder) == before
    again = finish(folder)
    assert again.jobs()["measure_latency"] == again.jobs()["serve_model"] == 1
    assert again.jobs()["train_adapter"] == 0


def test_a_killed_consumer_costs_the_others_nothing(finished, tmp_path):
    """What another consumer of the same server had finished stays, and is not made again."""
    folder = unmeasured(finished, tmp_path)
    results = folder / f"results/eval/{TUNED}"
    made = {
        "measure_latency": results / "latency.json",
        "generate_answers": results / "generations.jsonl",
    }
    made["generate_answers"].unlink()
    run = Workflow(folder)
    run.until(lambda: any(path.exists() for path in made.values()))
    first = next(rule for rule, path in made.items() if path.exists())
    (other,) = set(made) - {first}
    for process in run.left():
        if f"{other}.py" in " ".join(process.cmdline()):
            process.kill()
    assert run.wait(120) != 0
    run.assert_gone()
    assert made[first].exists()
    again = finish(folder)
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


def trained(folder):
    """Return a small project after its training, and what makes it so again."""
    project = Project(folder)
    project.config["runs"]["s"]["training"] |= {"max_steps": 60, "save_steps": 5, "eval_steps": 5}
    project.write_config()
    arguments = [ADAPTER, "--configfile", project.path("config/config.yaml")]
    finish(folder, *arguments)
    return folder, arguments


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path):
    """Workflow and trainer are killed between two checkpoints; the next run continues."""
    folder, arguments = trained(tmp_path / "project")
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
    elsewhere, _ = trained(tmp_path / "further/down/project")
    assert vouched(elsewhere) == vouched(folder)
    assert len(vouched(folder)) > 15


def vouched(folder):
    """Return path -> bytes of every manifest, sum and record below results/."""
    results = folder / "results"
    found = [*results.rglob("manifest.json"), *results.rglob("*SHA256SUMS")]
    found += results.glob(".provenance/*/*.json")
    return {str(path.relative_to(results)): path.read_bytes() for path in found}


def test_the_key_of_the_server_is_nowhere(finished):
    """Nothing that is kept holds an API key, and no endpoint file stays behind."""
    assert not list(finished.glob("results/eval/*/server.json"))
    for path in (finished / "results/eval").glob("*/latency.json"):
        assert "api_key" not in json.dumps(json.loads(path.read_text()))
