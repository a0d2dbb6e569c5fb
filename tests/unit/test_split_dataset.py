"""The split as the stage makes it: near duplicates on one side, and the check that says so."""

import json
from types import SimpleNamespace

import pytest

import split_dataset
from sftflow.promptgroups import PromptGroups, near_duplicates_across
from sftflow.records import RECORD, message, read_rows, write_table
from sftflow.stage import StageError

SIDES = ("train", "validation", "test")


def record(row, prompt, source="s"):
    turns = [message("user", prompt), message("assistant", f"answer {row}")]
    place = {"id": str(row), "source": source, "file": "f.jsonl", "row": row}
    return {**place, "messages": turns, "tools": None}


def prompt(number, change=None):
    """Return a prompt of 30 words, all its own; ``change`` puts another word in its middle."""
    words = [f"w{number}x{i}" for i in range(30)]
    if change:
        words[15] = change
    return " ".join(words)


def families(number, copies=3):
    """Return rows of which ``copies`` each begin nearly alike: 25 of 31 triples are shared."""
    prompts = [prompt(i, f"c{c}" if c else None) for c in range(copies) for i in range(number)]
    return [record(row, text) for row, text in enumerate(prompts, 1)]


def split(folder, records, **settings):
    """Split ``records``; return the rows' numbers by side and the manifest."""
    write_table(folder / "records.parquet", records, RECORD)
    whole = {"validation": 0.1, "test": 0.2, "seed": 0, "near_duplicates": 0.8, "stratify": None}
    argv = ["--spec", json.dumps({"dataset": "d", "split": {**whole, **settings}})]
    for side in SIDES:
        argv += [f"--{side}", str(folder / f"{side}.parquet")]
    argv += ["--records", str(folder / "records.parquet")]
    split_dataset.main([*argv, "--manifest", str(folder / "manifest.json")])
    sides = {s: [r["row"] for r in read_rows(folder / f"{s}.parquet")] for s in SIDES}
    return sides, json.loads((folder / "manifest.json").read_text())


@pytest.fixture
def lines(monkeypatch):
    """Return the lines that the stage shows to a person."""
    shown = []
    monkeypatch.setattr(split_dataset, "console", lambda: SimpleNamespace(say=shown.append))
    return shown


def test_near_duplicates_stay_on_one_side(tmp_path):
    sides, manifest = split(tmp_path, families(40))
    side_of = {(row - 1) % 40: side for side, rows in sides.items() for row in rows}
    for side, rows in sides.items():
        assert {side_of[(row - 1) % 40] for row in rows} == {side}
    assert {side: len(rows) for side, rows in sides.items()} == {
        "train": 84,
        "validation": 12,
        "test": 24,
    }
    counts = manifest["counts"]
    assert (counts["prompts"], counts["groups"], counts["largest_group"]) == (120, 40, 3)
    check = manifest["checks"]["near_duplicates_across"]
    assert check == {"n": 0, "threshold": 0.8, "ngram": 3, "examples": []}


def test_who_turns_it_off_is_told_what_leaks(tmp_path, lines):
    sides, manifest = split(tmp_path, families(40), near_duplicates=None)
    train = {(row - 1) % 40 for row in sides["train"]}
    leaks = sum((row - 1) % 40 in train for side in SIDES[1:] for row in sides[side])
    check = manifest["checks"]["near_duplicates_across"]
    assert (check["n"], check["threshold"]) == (leaks, 0.8)
    assert leaks > 10
    first = check["examples"][0]
    assert {"train", "similarity"} < set(first)
    assert first["similarity"] == pytest.approx(25 / 31, abs=0.001)
    assert f"warning: {leaks} of 36 rows set aside begin nearly as" in lines[0]


def test_off_is_the_split_by_equal_prompts(tmp_path):
    records = [record(i, f"question {i % 50} of this set") for i in range(1, 101)]
    on, off = (split(tmp_path, records, near_duplicates=near)[0] for near in (0.95, None))
    assert on == off


def test_the_check_sees_a_planted_leak(tmp_path):
    """It looks at the files alone: here they were not made by the split."""
    paths = {side: tmp_path / f"{side}.parquet" for side in SIDES}
    write_table(paths["train"], [record(i, prompt(i)) for i in range(1, 300)], RECORD)
    write_table(paths["validation"], [record(1, prompt(900)), record(2, prompt(7))], RECORD)
    write_table(paths["test"], [record(1, prompt(9, "x")), record(2, prompt(901))], RECORD)
    held_out = {side: paths[side] for side in ("test", "validation")}
    said, pairs = near_duplicates_across(paths["train"], held_out, tmp_path, 0.8)
    assert (said["n"], len(pairs)) == (2, 2)
    assert said["examples"] == [
        {"test": "s f.jsonl:1", "train": "s f.jsonl:9", "similarity": 0.806},
        {"validation": "s f.jsonl:2", "train": "s f.jsonl:7", "similarity": 1.0},
    ]


def test_what_the_grouping_missed_is_grouped_by_the_check(tmp_path, monkeypatch):
    """A grouping that finds nothing still gives a split without leaks."""
    monkeypatch.setattr(
        "sftflow.nearindex.NearIndex.clusters", lambda index: list(range(len(index)))
    )
    sides, manifest = split(tmp_path, families(40, 2))
    train = {(row - 1) % 40 for row in sides["train"]}
    assert not any((row - 1) % 40 in train for side in SIDES[1:] for row in sides[side])
    assert manifest["checks"]["near_duplicates_across"]["n"] == 0


def test_a_cluster_of_nearly_everything_is_said(tmp_path):
    records = [record(i, prompt(1, f"c{i}")) for i in range(1, 101)]
    said = (
        r"share 1 prompts.*100 of the 100 rows begin the same or nearly so \(similarity 0.8 or "
        r"more.*raise split.near_duplicates, or set it to null"
    )
    with pytest.raises(StageError, match=said):
        split(tmp_path, records)
    assert len(split(tmp_path, records, near_duplicates=None)[0]["test"]) == 20


def test_a_large_cluster_stays_in_train_and_is_said(tmp_path, lines):
    records = [record(i, prompt(1, f"c{i}")) for i in range(1, 81)]
    records += [record(i, prompt(i)) for i in range(81, 101)]
    sides, _ = split(tmp_path, records, test=0.3, validation=0)
    assert set(range(1, 81)) <= set(sides["train"])
    said = "\n".join(lines)
    assert "80 of the 100 rows begin the same or nearly so" in said
    assert "split.test got 20 of the 30 rows asked for" in said


def test_chinese_near_duplicates_stay_on_one_side(tmp_path):
    about = "甲乙丙丁戊己庚辛壬癸"
    texts = [f"请用简单的语言向小学生解释第{about[i] * 6}号实验的原理和步骤" for i in range(10)]
    records = [record(i, text) for i, text in enumerate(texts, 1)]
    records += [record(i, text + "吧") for i, text in enumerate(texts, 11)]
    _, manifest = split(tmp_path, records, near_duplicates=0.85)
    assert manifest["counts"]["groups"] == 10
    assert manifest["counts"]["largest_group"] == 2


def test_stratified_by_source(tmp_path):
    records = [record(i, prompt(i), "large" if i > 20 else "small") for i in range(1, 101)]
    sides, _ = split(tmp_path, records, stratify="source")
    small = {side: sum(row <= 20 for row in rows) for side, rows in sides.items()}
    assert small == {"test": 4, "validation": 2, "train": 14}
    assert [len(sides[side]) for side in SIDES] == [70, 10, 20]


def test_the_groups_are_those_of_the_records(tmp_path):
    write_table(tmp_path / "r.parquet", families(5, 2), RECORD)
    groups = PromptGroups(tmp_path / "r.parquet", tmp_path, 0.8)
    assert groups.of_row.tolist() == groups.of_row.tolist()[:5] * 2
    assert (groups.of_row[:5] == groups.keys[:5]).all()  # the key of the first: little moves
    groups.join([(int(groups.keys[0]), int(groups.keys[6]))])
    assert groups.largest() == 4
