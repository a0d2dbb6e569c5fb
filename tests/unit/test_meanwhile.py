"""What is edited while a job runs is in its record."""

from types import SimpleNamespace

import pytest

from sftflow import codegraph, meanwhile
from sftflow.meanwhile import CHANGED, present_digests, present_params, settled_params
from sftflow.provenance import Basis, Change, Verdict, changes
from sftflow.reasons import told


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Return the file of a stage in a repository of its own."""
    for name in ("sftflow", "lists", "templates"):
        (tmp_path / name).mkdir()
    for module in (codegraph, meanwhile):
        monkeypatch.setattr(module, "SCRIPTS", tmp_path)
    path = tmp_path / "stage.py"
    path.write_text("STEPS = 1\n")
    forget()
    yield path
    monkeypatch.undo()
    forget()


def forget():
    for found_once in codegraph.FOUND_ONCE:
        found_once.cache_clear()


def job(code, raw):
    """Return a job whose params are what ``code`` and ``raw`` say when they are asked."""

    def expand_params(*_):
        return {"code": code, "raw": raw(), "spec": '{"path":"x"}', "places": ["path"]}, None

    return SimpleNamespace(
        rule=SimpleNamespace(expand_params=expand_params), wildcards_dict={}, input=[], output=[]
    )


def test_code_that_was_edited_before_the_job_began_is_what_it_was_made_from(stage):
    planned = codegraph.code_digest("stage")
    one = job(planned, lambda: "1")
    stage.write_text("STEPS = 22\n")
    begun = present_params(one)
    found = settled_params(begun, present_params(one))
    assert found == {"code": codegraph.code_digest("stage"), "raw": "1", "spec": "{}"}
    assert found["code"] != planned
    stage.write_text("STEPS = 1\n")
    assert present_digests(found["code"]) == planned


def test_what_changes_while_a_job_runs_leaves_it_stale(stage):
    one = job(codegraph.code_digest("stage"), iter("12").__next__)
    begun = present_params(one)
    stage.write_text("STEPS = 333\n")
    found = settled_params(begun, present_params(one))
    assert (found["code"], found["raw"], found["spec"]) == (CHANGED, CHANGED, "{}")
    stage.write_text("STEPS = 1\n")
    recorded = {"command": "", "params": found, "inputs": {}}
    stale = changes(recorded, Basis("", begun, {}), set())
    assert {change.name for change in stale} == {"code", "raw"}
    assert told(Verdict(changed=stale)) == [
        "its code changed while the job ran",
        "the content of the raw files changed while the job ran",
    ]


def test_digests_of_contents_are_told_in_words():
    names = {"prompt": "what the judge's prompt says", "filled": "what the filled sheets say"}
    for name, words in names.items():
        (said,) = told(Verdict(changed=[Change("params", name, "1", "2")]))
        assert said.startswith(words) and said.endswith("has changed")


def test_a_file_that_is_gone_at_the_end_leaves_the_job_stale():
    def gone():
        raise FileNotFoundError

    assert present_params(job("", gone)) is None
    assert settled_params({"raw": "1"}, None) == {"raw": CHANGED}
