"""Runs of the real workflow that several tests share: each is done once per session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from realdata import REAL, write_config

from staleness.warm import Warm
from workflow import finish


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return the work folder of the embedded default, run from nothing to the report.

    SFTFLOW_FINISHED names one to use again, which saves minutes while a test is written.
    """
    if again := os.environ.get("SFTFLOW_FINISHED"):
        return Path(again)
    folder = tmp_path_factory.mktemp("default")
    finish(folder)
    return folder


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """Return the environment of a workflow whose jobs, but for servers, find their imports made.

    Jobs are then no children of Snakemake: for runs in which nothing is killed.
    """
    made = Warm(tmp_path_factory.mktemp("warm") / "server")
    yield made.environment
    made.close()


@pytest.fixture(scope="session")
def real(tmp_path_factory, finished, warm):
    """Return the work folder of three real files, run on the base that `finished` made."""
    if not REAL.is_dir():
        pytest.skip(f"the real data files are not on this machine ({REAL})")
    folder = tmp_path_factory.mktemp("real")
    config = write_config(folder / "real.yaml", finished / "results/models/tiny")
    finish(folder, "--configfile", config, environment=warm)
    return folder
