"""What can be asked of Snakemake's jobs."""

from __future__ import annotations

from typing import Any

from snakemake.io import is_flagged


def is_service(job: Any) -> bool:
    """Return whether a job lives only for those that wait for its output."""
    return any(is_flagged(path, "service") for path in job.output)


def wildcards_of(job: Any) -> dict[str, str]:
    """Return a job's wildcards as plain text."""
    return {str(k): str(v) for k, v in job.wildcards_dict.items()}


def describe(job: Any) -> str:
    """Return a job's name as its reader knows it."""
    return " ".join([job.rule.name, *wildcards_of(job).values()])


def jobs_of(job: Any) -> list:
    """Return the jobs of a group, or the one job."""
    return list(job) if job.is_group() else [job]
