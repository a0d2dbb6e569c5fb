"""Every edit of the table, made on the small real workflow: exactly the expected jobs run."""

from __future__ import annotations

import fnmatch

import pytest

from staleness.edits import TABLE
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


def missed(ran, expected):
    """Return the expected jobs that did not run."""
    return {job for job in expected if not any(fnmatch.fnmatch(one, job) for one in ran)}


def unnecessary(ran, expected):
    """Return the jobs that ran though they need not."""
    return {one for one in ran if not any(fnmatch.fnmatch(one, job) for job in expected)}
