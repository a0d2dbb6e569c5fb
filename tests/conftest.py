"""Which tests stay together when `make test` runs two at a time."""

from __future__ import annotations

import os

import pytest

# As for the workflow's jobs (sftflow/jobs.py), for stages that a test starts itself: threads that
# spin while they wait take the cores from the other worker's server.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# These share runs that take minutes (fixtures `finished` and `real`, the project of staleness/):
# one worker makes such a run once, for all of them.
TOGETHER = {
    "tests/e2e/test_adapters.py": "default",
    "tests/e2e/test_default.py": "default",
    "tests/e2e/test_realdata.py": "default",
    "tests/e2e/test_snakemake_report.py": "default",
    "tests/e2e/test_methods.py": "methods",  # they share an import of torch, not a run
    "tests/e2e/test_preferences.py": "methods",
    "tests/staleness/test_secrets.py": "staleness",
    "tests/staleness/test_table.py": "staleness",
    "tests/staleness/test_why.py": "staleness",
}


# The longest first, so that no worker is left with one of them at the end.
FIRST = (
    *("staleness", "default", "tests/e2e/test_slurm.py", "tests/e2e/test_faults.py"),
    *("tests/workflow/test_snakemake.py", "tests/e2e/test_training.py", "methods"),
)


def pytest_configure():
    """Give each of several workers cores of its own; what it starts inherits them.

    vLLM binds its threads to the first cores that it may use: the servers of two workers would
    share one, and each step of a stage's threads would wait for the one that got no turn.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    cores = sorted(os.sched_getaffinity(0))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if worker and count <= len(cores):
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) :: count])


def group_of(nodeid: str) -> str:
    """Return what a test stays together with: its file, or the files that share a run."""
    file = nodeid.split("::", 1)[0]
    return TOGETHER.get(file, file)


def pytest_collection_modifyitems(items):
    """Put the longest groups first; all else stays in its order."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(group_of(item.nodeid), len(places)))


# xdist 3.8 has groups of its own, but pytest 9.2 has other node ids than it writes them into.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give a worker a file at a time, or all files of a group."""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    return ByFile(config, log)
