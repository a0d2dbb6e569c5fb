"""Data made by a base of the config, behind vLLM started for that: once, kept, and never again.

The base is nearly random, so what it says is nonsense; a stop string lets most replies end.
"""

from __future__ import annotations

import json
import sqlite3

import pytest

from sftflow.manifests import sha256_file
from sftflow.records import read_rows
from staleness.project import Project, prompt
from workflow import finish

pytestmark = pytest.mark.e2e

MADE = "results/sources/m/made"
MAKE = {
    "method": "best_of_n",
    "from": "raw/seeds.jsonl",
    "endpoint": {"model": "t"},
    "candidates": 2,
    "rank": "longest",
    "max_tokens": 48,
    "temperature": 1.0,
    "request": {"stop": ["e", " ", "\n"]},
}


def data(project, warm):
    """Make the data; return the run and how many jobs of each rule it started."""
    config = project.folder / "config/config.yaml"
    run = finish(project.folder, "data", "--configfile", config, environment=warm)
    return run, {rule: n for rule, n in run.jobs().items() if rule != "data"}


def left(project):
    """Return the bytes of what was made."""
    return {path.name: path.read_bytes() for path in (project.folder / MADE).iterdir()}


def replies(project):
    with sqlite3.connect(project.folder / "results/.cache/replies.sqlite") as file:
        return file.execute("SELECT count(*) FROM replies").fetchone()[0]


def test_a_base_makes_data_once(tmp_path, warm):
    project = Project(tmp_path / "project")
    lines = [prompt(f"Say {n} twice") for n in range(8)]
    (project.folder / "raw/seeds.jsonl").write_text("".join([*lines, prompt("long " * 300)]))
    project.config["sources"]["m"] = {"make": MAKE}
    project.config["datasets"]["d"] = {
        "sources": ["a", "m"],
        "clean": [{"step": "normalize_text"}],
        "split": {"validation": 4, "test": 4},
        "decontaminate": {"action": "off"},
    }
    project.write_config()

    run, jobs = data(project, warm)
    made = {"prepare_base": 1, "serve_generator": 1, "make_source": 1}
    assert jobs == {**made, "ingest_source": 2, "clean_dataset": 1, "split_dataset": 1}
    folder = project.folder / MADE
    rows = [json.loads(line) for line in (folder / "made.jsonl").read_text().splitlines()]
    rejected = list(read_rows(folder / "rejected.parquet"))
    manifest = json.loads((folder / "manifest.json").read_text())
    counts = manifest["counts"]
    assert counts["rows_in"] == len(rows) + len(rejected) == 2 * 9
    assert 1 <= len(rows) <= 8, run.text()
    assert {row["made"]["model"] for row in rows} == {"t"}
    assert len({row["messages"][-1]["content"] for row in rows}) > len(rows) / 2
    long = [row for row in rejected if "leaves no room" in row["detail"]]
    assert {(row["row"], row["reason"]) for row in long} == {(9, "no_reply")} and len(long) == 2
    assert counts["requests"] == 16 == replies(project) - len(long)
    assert counts["completion_tokens"] > 0
    model = project.folder / "results/models/t/SHA256SUMS"
    assert manifest["inputs"]["model"] == sha256_file(model)
    trained_on = list(read_rows(project.folder / "results/datasets/d/train.parquet"))
    assert "m" in {row["source"] for row in trained_on}
    assert not list(project.folder.glob("results/generators/*/*.json"))

    before, paid = left(project), replies(project)
    (folder / "made.jsonl").unlink()
    run, jobs = data(project, warm)
    assert jobs == {"make_source": 1, "serve_generator": 1}
    assert "Kept ingest_source m" in run.text()
    assert ", 0 of them paid now" in run.text()
    assert (left(project), replies(project)) == (before, paid)

    _, jobs = data(project, warm)
    assert jobs == {}
    assert not list(project.folder.glob("results/generators/*/*.json"))
