"""What YAML allows and nobody expects: read as it is meant, or refused in one sentence."""

from __future__ import annotations

import pytest
from broken_config import GOOD, edited, faults, load

from sftflow.config import load_config
from sftflow.configfile import ConfigFault
from sftflow.configschema import fill_defaults

TEXT = """\
sources: { mine: { path: rows.jsonl } }
datasets: { talk: { sources: [mine] } }
bases: { tiny: { make: { seed: 1 }, template: chatml } }
runs: { one: { base: tiny, dataset: talk, max_length: 256 } }
"""

# name -> (replaced in TEXT, by what, words of the one sentence)
REFUSED = {
    "tag of a number": ("256", "!!int x", "config.yaml:4: 'x' can't be a number"),
    "5,000 digits": ("256", "1" * 5000, "config.yaml:4: '1111"),
    "400 digits": ("256", "1" * 400, "more than the 1024 positions"),
    "number of 400 digits for text": ("rows.jsonl", "1" * 400, "sources.mine.path: must be text"),
    "infinity": ("256 }", "9, lora: { lora_alpha: 1e999 } }", ":4: '1e999' can't be a number"),
    "half of a character": ("rows.jsonl", '"\\ud800"', "\\ud800 is half of a character"),
    "NUL": ("rows.jsonl", '"a\0b"', "unacceptable character #x0000"),
    "line end in a value": ("chatml", '"a\\nb\\e[2J"', "'a\\nb\\x1b[2J' is not a template"),
    "key that is a list": ("mine: {", "[mine]: {", "config.yaml:1: a key must be text"),
    "python": ("rows.jsonl", "!!python/object/apply:os.getcwd []", "could not determine"),
    "5,000 characters": ("chatml", "c" * 5000, "ccc...' is not a template"),
    "two documents": ("runs:", "---\nruns:", "config.yaml:4: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_sentence(tmp_path, name):
    old, new, words = REFUSED[name]
    told = faults(tmp_path, TEXT.replace(old, new))
    assert any(words in fault for fault in told), told
    assert all(len(fault) < 700 and fault.isprintable() for fault in told)


def test_another_encoding_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(TEXT, encoding="utf-16")
    with pytest.raises(ConfigFault, match="is not UTF-8"):
        load_config([path])


@pytest.mark.parametrize("name", ["1", "null", "true", "1.50", "2024-01-05"])
def test_a_name_is_text_whatever_it_looks_like(tmp_path, name):
    assert list(load(tmp_path, TEXT.replace("one:", f"{name}:"))["runs"]) == [name]


def test_an_alias_and_what_is_merged_of_it(tmp_path):
    two = "two: { <<: *one, max_length: 128 }"
    text = TEXT.replace("one: {", "one: &one {").replace("256 } }", f"256 }}, {two} }}")
    runs = load(tmp_path, text)["runs"]
    assert [run["max_length"] for run in runs.values()] == [256, 128]
    assert runs["two"]["base"] == "tiny"


@pytest.mark.parametrize("written", ["1e3", "1000.0", "1.0e+3"])
def test_a_whole_number_is_one_however_it_is_written(tmp_path, written):
    """The schema takes 1000.0 for an integer; a stage that counts with it would end."""
    for text in (
        TEXT.replace("256", written),
        TEXT.replace("256 }", f"9, sweep: {{ max_length: [{written}] }} }}"),
    ):
        (run,) = load(tmp_path, text)["runs"].values()
        assert (run["max_length"], type(run["max_length"])) == (1000, int)


def test_a_sweep_without_end_is_refused_before_it_is_written_out(tmp_path):
    ranks = list(range(1, 1001))
    sweep = {"lora.r": ranks, "training.max_steps": ranks, "training.save_steps": ranks}
    (fault,) = faults(tmp_path, edited(runs__talk_lora__sweep=sweep))
    assert "runs.talk-lora.sweep: makes 1,000,000,000 runs, 1,000 at most" in fault


@pytest.mark.parametrize("delimiter", ["", "||"])
def test_a_delimiter_is_one_character(tmp_path, delimiter):
    (fault,) = faults(tmp_path, edited(sources__mine__delimiter=delimiter))
    assert "sources.mine.delimiter" in fault


def places(value, path=()):
    """Yield the way to every value of a config."""
    for key, below in value.items() if isinstance(value, dict) else ():
        yield (*path, key)
        yield from places(below, (*path, key))


STRANGE = [None, 10**400, float("nan"), {None: {}}, {"x": None}, [None], float("inf")]


@pytest.mark.parametrize("first", [0, 1])
def test_any_value_at_any_key_is_taken_or_refused_in_sentences(tmp_path, first, monkeypatch):
    """Each key of the config has one of the values; together the tests give most keys several."""
    (tmp_path / "rows.jsonl").write_text("{}\n")
    for number, path in enumerate(places(fill_defaults(GOOD))):
        if number % 2 == first % 2:
            spoilt = fill_defaults(GOOD)
            place = spoilt
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = STRANGE[(number // 2 + first) % len(STRANGE)]
            assert_sentences(tmp_path, spoilt, monkeypatch)


def assert_sentences(folder, config, monkeypatch):
    """Load a config as if it had been read, for JSON and YAML can't write all of it."""
    monkeypatch.setattr("sftflow.config.read_config_files", lambda *_: config)
    try:
        load_config([folder / "config.yaml"])
    except ConfigFault as error:
        assert all(fault.isprintable() for fault in error.faults)
