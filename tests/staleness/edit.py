"""One row of the table of edits, and how what ran is held against it."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from staleness.project import Project


@dataclass(frozen=True)
class Edit:
    """One change by a user, and the jobs ("rule wildcards") that must run after it."""

    name: str
    make: Callable[[Project], object]
    expected: set[str] = field(default_factory=set)
    may: set[str] = field(default_factory=set)  # depends on what a model happens to answer
    environment: Callable[[Project], dict[str, str]] = lambda _: {}
    targets: tuple[str, ...] = ()
    # All that would run if everything were asked for, where less is.
    stale: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Let everything that is stale be what runs, unless something else is said."""
        object.__setattr__(self, "stale", self.stale or self.expected)


def missed(ran: Iterable[str], expected: Iterable[str]) -> set[str]:
    """Return the expected jobs that did not run; ``*`` in a job stands for any text."""
    ran = list(ran)
    return {job for job in expected if not any(fnmatch.fnmatchcase(one, job) for one in ran)}


def unnecessary(ran: Iterable[str], expected: Iterable[str]) -> set[str]:
    """Return the jobs that ran though they need not."""
    expected = list(expected)
    return {one for one in ran if not any(fnmatch.fnmatchcase(one, job) for job in expected)}
