"""What is said of pip-audit's report: known holes, and what could not be asked about."""

import importlib.util
import json
from pathlib import Path

import pytest

PLACE = Path(__file__).parents[2] / "envs" / "audit.py"
SPEC = importlib.util.spec_from_file_location("audit", PLACE)
audit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audit)

GOOD = {"name": "a", "version": "1.0", "vulns": []}
HOLE = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": "x"}
BAD = {"name": "b", "version": "1.0", "vulns": [HOLE]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([GOOD, GOOD], 0, "no known holes in 2 packages"),
        ([GOOD, BAD], 1, "cpu.txt: b==1.0 has PYSEC-1, fixed in 1.1"),
        ([GOOD, SKIPPED], 2, "error: 1 of 2 packages could not be asked about (c)"),
        ([BAD, SKIPPED], 2, "b==1.0 has PYSEC-1"),
        ([], 2, "error: 0 of 0 packages"),
    ],
)
def test_what_was_not_asked_is_not_called_sound(packages, status, said, tmp_path):
    report = tmp_path / "cpu.json"
    report.write_text(json.dumps({"dependencies": packages, "fixes": []}))
    found, lines = audit.verdict([report])
    assert found == status
    assert said in "\n".join(lines)


def test_no_report_is_an_error(tmp_path):
    assert audit.verdict([tmp_path / "cpu.json"])[0] == 2
