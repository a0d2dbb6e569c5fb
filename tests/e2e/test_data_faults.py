"""Faults under the data stages: after each the next run ends with the same bytes."""

from __future__ import annotations

import signal

import pytest

from staleness.project import Project

pytestmark = pytest.mark.e2e

# What a shell would make a command of, wherever it is not quoted.
NAME = "raw/a b;$(touch PWNED)`touch PWNED`'\"&|\\.jsonl"
PLANTED = """
    import os, signal, time
    if os.environ.get("SFTFLOW_TEST_FAULT") == args.spec["source"]:
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("SFTFLOW_TEST_FAULT") == "the workflow of " + args.spec["source"]:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(20)
        open("outlived", "w").close()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a project with its data made, and the bytes of all that was made."""
    project = Project(tmp_path_factory.mktemp("faults") / "project")
    (project.folder / "raw/a.jsonl").rename(project.folder / NAME)
    project.config["sources"]["a"]["path"] = NAME
    project.write_config()
    parsed = '"records", "rejected", "manifest").parse_args(argv)\n'
    project.replace("scripts/ingest_source.py", parsed, parsed + PLANTED)
    project.run("data")
    return project, contents(project)


def contents(project):
    """Return path -> bytes of every result and record."""
    results = project.folder / "results"
    found = [*results.glob("sources/**/*"), *results.glob("datasets/**/*")]
    found += results.glob(".provenance/*/*.json")
    return {str(p.relative_to(results)): p.read_bytes() for p in found if p.is_file()}


def test_names_of_files_are_never_commands(made):
    project, before = made
    assert b"PWNED" in before["sources/a/records.parquet"] + before["sources/a/manifest.json"]
    assert not list(project.folder.rglob("PWNED"))


def test_a_killed_stage_is_told_and_made_again(made):
    """As the kernel ends a process when the machine is out of memory."""
    project, before = made
    project.delete("results/sources/a/records.parquet")
    failed = project.snakemake("--cores", "all", "data", SFTFLOW_TEST_FAULT="a")
    said = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert "ingest_source a was killed" in said
    assert "out of memory; see results/logs/ingest_source/a.log" in said
    assert project.run("data") == {"ingest_source a"}
    assert contents(project) == before


def test_a_killed_workflow_takes_its_jobs_along_and_loses_no_former_result(made):
    """kill -9 of Snakemake alone, in the middle of a rerun that is then not wanted any more."""
    project, before = made
    raw = project.folder / NAME
    text = raw.read_text()
    raw.write_text(text + '{"instruction": "Say 99 twice", "output": "99 99"}\n')
    killed = project.snakemake("--cores", "all", "data", SFTFLOW_TEST_FAULT="the workflow of a")
    assert killed.returncode == -signal.SIGKILL
    assert not project.path("outlived").exists()
    assert contents(project).items() < before.items()
    assert (project.folder / "results/.previous").is_dir()
    raw.write_text(text)
    assert project.planned("data") == set()
    assert project.planned("data") == set()  # now that the files are there again, too
    assert contents(project) == before
    assert not (project.folder / "results/.previous").exists()


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def empty(path):
    path.write_bytes(b"")


def garbage(path):
    path.write_bytes(b"\x00{]" * 9)


def turned_into_a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "sources/a/records.parquet": cut,
    "sources/b/manifest.json": garbage,
    "sources/b/rejected.parquet": empty,
    "datasets/d/cleaned/SHA256SUMS": empty,
    "datasets/d/train.parquet": cut,
    "datasets/d/test.parquet": turned_into_a_folder,
    "datasets/d/manifest.json": cut,
    "datasets/d/contamination.json": garbage,
    ".provenance/clean_dataset/dataset=d.json": cut,
    ".cache/digests.json": garbage,
}


def test_damaged_results_are_made_again(made):
    project, before = made
    for name, spoil in DAMAGE.items():
        spoil(project.folder / "results" / name)
    ran = project.run("data")
    assert {"ingest_source a", "ingest_source b", "clean_dataset d", "split_dataset d"} <= ran
    assert contents(project) == before
    assert project.planned("data") == set()
