"""What the dataset's page says of tags, groups and the mix: counted from the rows themselves."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dataset_page import visible
from test_datasets import SPLIT, STEPS, make_source, run

from sftflow import labelfigures
from sftflow.labelfigures import group_facts, tag_facts
from sftflow.records import RECORD, message, read_rows, write_table

ROWS = [(f"Question number {i}?", f"The answer is {i}, and that is all.") for i in range(60)]
tag_lists = st.none() | st.lists(st.sampled_from("abcdef"), unique=True, min_size=1, max_size=3)


def rows_of(tags=(), groups=()):
    said = [message("user", "a"), message("assistant", "b")]
    labels = [{"tags": of} for of in tags] or [{"group": of} for of in groups]
    place = {"id": "x", "source": "s", "file": None, "row": 1}
    return [{**place, "messages": said, "tools": None, **label} for label in labels]


def write(path, **labels):
    write_table(path, rows_of(**labels), RECORD, batch_rows=7)
    return path


@settings(max_examples=25, deadline=None)
@given(read=st.lists(tag_lists, max_size=40), kept=st.data())
def test_tags_are_counted_row_by_row(tmp_path_factory, read, kept):
    folder = tmp_path_factory.mktemp("tags")
    stay = [kept.draw(st.booleans()) for _ in read]
    left = [tags for tags, stays in zip(read, stay, strict=True) if stays]
    parts = [write(folder / f"{i}.parquet", tags=read[i::2]) for i in range(2)]
    train = write(folder / "train.parquet", tags=left)
    facts = tag_facts([("read", parts), ("trained", [train])])
    counts = {"read": read, "trained": left}
    counts = {
        name: Counter(tag for tags in rows for tag in tags or ()) for name, rows in counts.items()
    }
    if not counts["read"]:
        assert facts is None
        return
    assert {t["tag"]: (t["read"], t["trained"]) for t in facts["tags"]} == {
        tag: (n, counts["trained"][tag]) for tag, n in counts["read"].items()
    }
    tagged = {"read": sum(map(bool, read)), "trained": sum(map(bool, left))}
    rows = {"read": len(read), "trained": len(left)}
    assert {n: (of["rows"], of["tagged"]) for n, of in facts["levels"].items()} == {
        name: (rows[name], tagged[name]) for name in rows
    }
    assert set(facts["gone"]) == set(counts["read"]) - set(counts["trained"])


def test_rare_tags_are_counted_and_not_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(labelfigures, "LISTED", 2)
    path = write(tmp_path / "r.parquet", tags=[["b", "长" * 90], ["b"], ["a"], ["c"], None])
    facts = tag_facts([("read", [path]), ("trained", [])])
    assert [(t["tag"], t["read"]) for t in facts["tags"]] == [("b", 2), ("a", 1)]
    assert facts["more"] == 2
    assert (facts["gone"], facts["gone_more"]) == (["b", "a"], 2)


def test_the_largest_groups(tmp_path):
    names = [None] * 3 + [f"g{i}" for i in range(9) for _ in range(i)]
    cleaned = write(tmp_path / "c.parquet", groups=names)
    train = write(tmp_path / "t.parquet", groups=[n for n in names if n != "g7"])
    facts = group_facts(cleaned, train)
    assert (facts["rows"], facts["grouped"], facts["groups"]) == (39, 36, 8)
    found = [(g["group"], g["rows"], g["trained"]) for g in facts["largest"]]
    assert found == [("g8", 8, 8), ("g7", 7, 0), ("g6", 6, 6), ("g5", 5, 5), ("g4", 4, 4)]
    assert group_facts(write(tmp_path / "n.parquet", groups=[None]), train) is None


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a dataset's folder with tags, groups and a mix of two sources."""
    folder = tmp_path_factory.mktemp("labels")
    for name, rows in (("one", ROWS), ("two", [(f"And {p}", a) for p, a in ROWS[:20]])):
        source = make_source(folder / name, [*rows, ("short", "short")])
        records = [
            {**r, "tags": ["<b>sums</b>"], "group": f"family {r['row'] % 9}"}
            if name == "one" and len(r["messages"][0]["content"]) > 5
            else {**r, "tags": ["lost"] if r["messages"][0]["content"] == "short" else None}
            for r in read_rows(source / "records.parquet")
        ]
        write_table(source / "records.parquet", records, RECORD)
    sources = [folder / "one", folder / "two"]
    split = {**SPLIT, "stratify": "tag"}
    data = run(folder, sources, STEPS, split)
    train = [*read_rows(data / "train.parquet")]
    of = Counter(row["source"] for row in train)
    mixed = data / "mixed"
    mixed.mkdir()
    twice = [row for row in train if row["source"] == "two"] * 2
    write_table(mixed / "train.parquet", twice, RECORD)
    counts = {
        "one": {"rows": 0, "repeated": 0, "left_out": of["one"]},
        "two": {"rows": len(twice), "repeated": of["two"], "left_out": 0},
    }
    said = {"rows": len(twice), "rejected": {}, "left_out": of["one"], "sources": counts}
    manifest = {"schema": 1, "settings": {}, "counts": said}
    (mixed / "manifest.json").write_text(json.dumps(manifest))
    return folder, sources, split, data, of


def test_the_page_without_a_mix(made):
    _, _, _, data, of = made
    text = visible((data / "report.html").read_text())
    assert f"{of['one']} of {sum(of.values())} rows trained on have tags" in text
    assert "1 different ones; as read it was 62 of 82 rows and 2 tags" in text
    assert "Nothing is trained on of “lost”" in text
    assert f"<b>sums</b> 60 60 {of['one']} " in text
    assert "60 of 80 cleaned rows are in 9 groups." in text
    assert text.count("family 1 7 ") == 1
    assert "tags <b>sums</b>, group family" in text  # of a row to look at
    portrait = json.loads((data / "portrait.json").read_text())
    assert portrait["columns"] == {"tags": [["<b>sums</b>", of["one"]]]}


def test_sources_and_tags_count_what_is_trained_on(made):
    folder, sources, split, data, of = made
    before = [(data / f"{side}.parquet").read_bytes() for side in ("train", "test")]
    report = ["--mixed", str(data / "mixed/manifest.json")]
    run(folder, sources, STEPS, split, report=report)
    assert [(data / f"{side}.parquet").read_bytes() for side in ("train", "test")] == before
    text = visible((data / "report.html").read_text())
    assert f"one 62 61 60 {of['one']} 0 0%" in text
    assert f"two 22 21 20 {of['two']} {2 * of['two']} 100%" in text
    assert f"0 of {2 * of['two']} rows trained on have tags (0%)" in text


def test_a_dataset_without_labels_says_how_to_name_them(tmp_path):
    data = run(tmp_path, [make_source(tmp_path / "one", ROWS)], [], SPLIT)
    text = visible((data / "report.html").read_text())
    assert "No row has a tag. Name the columns" in text
    assert "No row has a group." in text
