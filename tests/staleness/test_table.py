"""Every edit of the table, made on the small real workflow: exactly the expected jobs run."""

from __future__ import annotations

import pytest

from staleness.edit import missed, unnecessary
from staleness.edits import TABLE

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("edit", TABLE, ids=lambda edit: edit.name.replace(" ", "-"))
def test_exactly_the_stale_jobs_run(project, edit):
    edit.make(project)
    environment = edit.environment(project)
    if edit.stale != edit.expected:
        assert missed(project.planned(**environment), edit.stale) == set()
    # What an edit should have run and did not would run after the next one, as unnecessary.
    ran = project.run(*edit.targets, **environment)
    assert missed(ran, edit.expected) == set()
    assert unnecessary(ran, edit.expected | edit.may) == set()


def test_nothing_is_left_at_the_end(project):
    assert project.planned() == set()
