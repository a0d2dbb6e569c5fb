"""What the doctor finds: a line about one thing, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OK, WARNING, FAULT = "ok", "warning", "will not work"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is, and what to do if that is not good."""

    about: str
    level: str
    said: str
    todo: str = ""


def ok(about: str, said: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(about, OK, said)


def warning(about: str, said: str, todo: str) -> Finding:
    """Return a finding with which some things work, or work badly."""
    return Finding(about, WARNING, said, todo)


def fault(about: str, said: str, todo: str) -> Finding:
    """Return a finding with which the workflow can't end well."""
    return Finding(about, FAULT, said, todo)


def will_work(findings: Iterable[Finding]) -> bool:
    """Return whether nothing was found that can't work."""
    return all(finding.level != FAULT for finding in findings)


def lines(findings: Iterable[Finding]) -> list[str]:
    """Return the findings as a person reads them; what to do stands below."""
    told = []
    for finding in findings:
        told.append(f"{finding.level:14}{finding.about:15}{finding.said}")
        if finding.todo:
            told.append(f"{'':29}-> {finding.todo}")
    return told
