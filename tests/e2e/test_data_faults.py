"""Faults under the data stages: after each the next run ends with the same bytes."""

from __future__ import annotations

import pytest

from staleness.project import Project

pytestmark = pytest.mark.e2e

# What a shell would make a command of, wherever it is not quoted.
NAME = "raw/a b;$(touch PWNED)`touch PWNED`'\"&|\\.jsonl"
PLANTED = """
    import os, signal
    if os.environ.get("SFTFLOW_TEST_FAULT") == args.spec["source"]:
        os.kill(os.getpid(), signal.SIGKILL)
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
