"""Every edit of the table, made on the small real workflow: exactly the expected jobs run."""

from __future__ import annotations

import pytest

from staleness.edits import TABLE, missed, unnecessary

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("edit", TABLE, ids=lambda edit: edit.name.replace(" ", "-"))
def test_exactly_the_stale_jobs_run(project, edit):
    edit.make(project)
    ran = project.run(**edit.environment(project))
    assert missed(ran, edit.expected) == set()
    assert unnecessary(ran, edit.expected | edit.may) == set()
    assert project.planned(**edit.environment(project)) == set()
