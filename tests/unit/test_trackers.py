import os
from types import SimpleNamespace

import pytest

from sftflow import trackers


def installed(monkeypatch, *names):
    monkeypatch.setattr(trackers, "find_spec", lambda name: name in names or None)


def test_a_tracker_that_is_not_installed_is_named_with_its_package(monkeypatch):
    installed(monkeypatch, "wandb")
    assert trackers.missing_package([]) is None
    assert trackers.missing_package(["wandb"]) is None
    assert trackers.missing_package(["wandb", "trackio"]) == "trackio"
    assert trackers.missing_package(["tensorboard"]) == "tensorboard"
    installed(monkeypatch, "tensorboardX")  # it writes the same files
    assert trackers.missing_package(["tensorboard"]) is None


@pytest.fixture
def environment(monkeypatch):
    """Return an environment that may be changed."""
    kept = {"WANDB_PROJECT": "mine"}
    monkeypatch.setattr(os, "environ", kept)
    return kept


def test_files_of_trackers_lie_in_one_folder_and_what_the_user_set_stays(environment, tmp_path):
    settings = SimpleNamespace(report_to=[], run_name=None, project=None)
    trackers.report_to(settings, ["wandb"], tmp_path / "trackers", "r", "0123456789abcdef")
    assert (settings.report_to, settings.run_name) == (["wandb"], "r")
    assert environment["WANDB_PROJECT"] == "mine"
    assert environment["WANDB_RUN_ID"] == "0123456789abcdef"
    for name in ("TENSORBOARD_LOGGING_DIR", "WANDB_DIR", "MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        assert str(tmp_path / "trackers") in environment[name]
