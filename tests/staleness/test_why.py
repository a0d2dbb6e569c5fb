"""What the commands beside Snakemake say of a real project: reasons, costs, leftovers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from staleness.project import Project

pytestmark = pytest.mark.e2e


def told(project: Project, script: str, *arguments: str) -> str:
    """Return what a command of the copy prints, white space made one."""
    done = subprocess.run(
        [sys.executable, f"scripts/{script}.py", *arguments],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def test_leftovers_go_and_nothing_that_is_needed(project):
    project.run()
    kept = project.folder / "results/models/s.r-2/model.safetensors"
    (project.folder / "results/models/s.old").mkdir()
    (project.folder / "results/models/s.old/model.safetensors").write_bytes(b"x" * 1000)
    assert "results/models/s.old" in told(project, "tidy", "--yes")
    assert not (project.folder / "results/models/s.old").exists()
    assert kept.exists()
    assert "Every result is referred to." in told(project, "tidy")
    assert project.planned() == set()


def test_nothing_to_do_is_said(project):
    assert "Nothing would run" in told(project, "why")


def test_rows_settings_and_functions_are_named(project):
    """Three changes at once; each is told in its maker's words, with costs."""
    raw = project.path("raw/a.jsonl")
    before = {path: path.read_bytes() for path in (raw, project.path("config/config.yaml"))}
    rows = raw.read_text().splitlines(keepends=True)
    raw.write_text("".join([*rows[:4], '{"instruction": "Say it", "output": "it"}\n', *rows[5:]]))
    project.append("scripts/sftflow/splitting.py", "\n\ndef unused():\n    return 1\n")
    rate = project.config["runs"]["s"]["training"].get("learning_rate", 0.0002)
    project.config["runs"]["s"]["training"]["learning_rate"] = 0.005
    project.write_config()
    said = told(project, "why")
    assert "1 row changed (a.jsonl:5)" in said
    assert f"training.learning_rate: {rate} -> 0.005" in said
    assert "scripts/sftflow/splitting.py: unused() is new" in said
    assert "more run if what they read comes out differently" in said
    assert "Going by last times: at least" in said
    for path, content in before.items():
        path.write_bytes(content)
