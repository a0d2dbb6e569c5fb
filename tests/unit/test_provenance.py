"""When a job is stale, and what is said of it."""

import json

import pytest

from sftflow.digests import Digests
from sftflow.provenance import Basis, judge, placeless, read_record, record_path, write_record
from sftflow.reasons import _function_changes, sentence, told, told_missing
from sftflow.settingchanges import setting_changes

RULE, WILDCARDS = "clean_dataset", {"dataset": "d"}


@pytest.fixture
def digests(tmp_path, monkeypatch):
    """Stand in a folder with results, and return digests for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/d").mkdir(parents=True)
    return Digests("results/.cache/digests.json")


def basis(**changed) -> Basis:
    said = {
        "command": "clean",
        "params": {"spec": '{"min":1,"steps":[{"step":"length","max":9}]}', "code": "0" * 16},
        "inputs": {"results/a": "1", "results/b": "2"},
    }
    return Basis(**{**said, **changed})


OUTPUTS = ["results/d/records.parquet", "results/d/SHA256SUMS"]


@pytest.fixture
def made(tmp_path, digests):
    """Write outputs and their record, as a finished job does; return the digests."""
    import hashlib

    (tmp_path / OUTPUTS[0]).write_text("rows")
    (tmp_path / "results/d/more.bin").write_text("more")
    lines = [
        f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n"
        for name, text in (("records.parquet", "rows"), ("more.bin", "more"))
    ]
    (tmp_path / OUTPUTS[1]).write_text("".join(lines))
    write_record(RULE, WILDCARDS, basis(), OUTPUTS, digests)
    return digests


def test_where_things_lie_is_not_asked():
    spec = {"sets": [{"name": "a", "path": "x"}, {"name": "b", "path": None}], "path": ["y"]}
    params = {"spec": json.dumps(spec), "places": ["path", "sets.*.path"], "raw": "1"}
    assert placeless(params) == {"spec": '{"sets":[{"name":"a"},{"name":"b"}]}', "raw": "1"}
    assert placeless({"spec": "{}"}) == {"spec": "{}"}
    steps = '{"clean":[{"step":"turns"},{"model":"raw/bert","step":"x"}]}'
    assert placeless({"spec": steps, "places": ["clean.1.model"]}) == {
        "spec": '{"clean":[{"step":"turns"},{"step":"x"}]}'
    }


def verdict(digests, now=None, undecided=()):
    record = read_record(RULE, WILDCARDS)
    return judge(record, now or basis(), OUTPUTS, digests, undecided)


def test_what_is_as_it_was_is_not_stale(made):
    assert not verdict(made)


def test_a_record_knows_no_folder_and_no_time(tmp_path, made):
    path = record_path(RULE, WILDCARDS)
    before = path.read_bytes()
    assert str(tmp_path).encode() not in before
    write_record(RULE, WILDCARDS, basis(), OUTPUTS, made)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["records.parquet", "SHA256SUMS", "more.bin"])
def test_missing_and_damaged_files_are_seen_declared_or_not(tmp_path, made, name):
    path = tmp_path / "results/d" / name
    path.write_text(path.read_text() + "x")
    assert verdict(made).damaged == [f"results/d/{name}"]
    path.unlink()
    assert verdict(made).missing == [f"results/d/{name}"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"command": "clean --all"}, "the rule's command has changed"),
        ({"inputs": {"results/a": "9", "results/b": "2"}}, "results/a has other content"),
        ({"inputs": {"results/a": "1"}}, "results/b is not an input any more"),
        (
            {"inputs": {"results/a": "1", "results/b": "2", "results/c": "3"}},
            "results/c is a new input",
        ),
        (
            {"params": {**basis().params, "spec": '{"min":2,"steps":[{"step":"length","max":9}]}'}},
            "min: 1 -> 2",
        ),
        (
            {"params": {**basis().params, "spec": '{"min":1,"steps":[{"step":"length","max":8}]}'}},
            "steps[length].max: 9 -> 8",
        ),
        ({"params": {**basis().params, "code": "1" * 16}}, "its code has changed"),
        ({"params": {**basis().params, "raw": "x"}}, "the content of the raw files has changed"),
    ],
)
def test_a_change_is_told_in_its_maker_s_words(made, changed, said):
    found = verdict(made, basis(**changed))
    assert found
    assert sentence(found) == said


def test_an_input_that_is_going_to_be_made_again_decides_nothing_yet(made):
    now = basis(inputs={"results/a": None, "results/b": "2"})
    assert verdict(made, now)
    assert not verdict(made, now, undecided={"results/a"})


def test_without_a_record_nothing_is_believed(tmp_path, made):
    record_path(RULE, WILDCARDS).write_text("{")
    assert verdict(made).unknown
    (tmp_path / OUTPUTS[0]).unlink()
    assert verdict(made).missing == [OUTPUTS[0]]


def test_a_template_has_no_functions():
    page, module = "templates/page.j2", "sftflow/sums.py"
    said = list(_function_changes(page, {"": "1"}, {"": "2"}))
    said += _function_changes(module, {"": "1", "f": "1"}, {"": "2", "f": "2"})
    assert said == [
        "scripts/templates/page.j2 has changed",
        "scripts/sftflow/sums.py: module level has changed",
        "scripts/sftflow/sums.py: f() has changed",
    ]


def test_settings_that_come_and_go():
    assert list(setting_changes({"a": {"b": 1}}, {"a": {}})) == ["a.b: 1 is gone"]
    assert list(setting_changes({"a": {}}, {"a": {"b": "x"}})) == ["a.b: x is new"]
    assert list(setting_changes({"a": [1]}, {"a": [1, 2]})) == ["a: [1] -> [1, 2]"]


def test_many_inputs_and_results_are_told_in_few_words(made):
    then = {f"results/a/{n}": "1" for n in range(9)}
    found = verdict(made, basis(inputs=then))
    assert told(found)[-1].endswith("more such changes")
    assert len(told(found)) == 4
    gone = [f"results/d/{name}" for name in "ab"]
    assert told_missing(gone, gone) == ["none of its results is there"]
    assert told_missing(gone[:1], gone) == ["results/d/a is missing"]
    assert told_missing(gone[:1], gone[:1]) == ["results/d/a is missing"]
