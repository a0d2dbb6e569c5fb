"""What may run beside what, when `make test` runs two tests at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keep tests together that share a finished run: a worker makes it once, for all of them."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    if "finished" in getattr(item, "fixturenames", ()):
        return "default"
    folder, *rest = item.path.relative_to(TESTS).parts
    return folder if folder == "staleness" else "/".join([folder, *rest])
