"""Every edit of the table, made on the small real workflow: exactly the expected jobs run."""

from __future__ import annotations

import pytest

from staleness.edits import TABLE, missed, unnecessary
from staleness.project import Project

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return the small project after a first run of everything."""
    made = Project(tmp_path_factory.mktemp("staleness") / "project")
    ran = made.run()
    assert "train_adapter s.r-2" in ran
    return made


@pytest.mark.parametrize("edit", TABLE, ids=lambda edit: edit.name.replace(" ", "-"))
def test_exactly_the_stale_jobs_run(project, edit):
    edit.make(project)
    ran = project.run(**edit.environment(project))
    assert missed(ran, edit.expected) == set()
    assert unnecessary(ran, edit.expected | edit.may) == set()
    assert project.planned(**edit.environment(project)) == set()
