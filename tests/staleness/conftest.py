"""One small project, run once, on which the tests of this folder make their edits in turn."""

from __future__ import annotations

import pytest

from staleness.project import SECRETS, Project
from staleness.warm import Warm


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """Return the small project after a first run of everything."""
    warm = Warm(tmp_path_factory.mktemp("warm") / "server")
    made = Project(tmp_path_factory.mktemp("staleness") / "project", warm)
    ran = made.run(**SECRETS)
    assert "train_adapter s.r-2" in ran
    yield made
    warm.close()
