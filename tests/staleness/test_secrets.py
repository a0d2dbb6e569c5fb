"""Secrets of the environment are in nothing that a run of every stage has written."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from staleness.project import SECRETS

pytestmark = pytest.mark.e2e


def written(path):
    """Return the bytes of a file; what Parquet compresses is read."""
    if path.suffix == ".parquet":
        return str(pq.read_table(path).to_pylist()).encode()
    return path.read_bytes()


def test_no_secret_of_the_environment_was_written(project):
    """Logs, manifests, records of Snakemake, the report: all files of the project's folder."""
    files = [path for path in project.folder.rglob("*") if path.is_file()]
    assert any(path.name == "report.html" for path in files)
    assert any(path.suffix == ".log" for path in files)
    assert any(".snakemake" in path.parts for path in files)
    contents = {path: written(path) for path in files}

    def holding(text):
        return [path for path, content in contents.items() if text.encode() in content]

    assert len(holding("train_adapter")) > 5  # the search finds what is there
    assert {name: holding(secret) for name, secret in SECRETS.items() if holding(secret)} == {}
