import json

import pytest

from sftflow import portrait
from sftflow.portrait import Portrait, read_portrait
from sftflow.records import content_id, message
from sftflow.stage import StageError


def record(prompt, answer, source="a", **more):
    said = {"messages": [message("user", prompt), message("assistant", answer)], "tools": None}
    return {"id": content_id(said), "source": source, "file": "f", "row": 1, **said, **more}


ROWS = [record(f"Write a text about topic number {i}", "x" * i) for i in range(1, 21)]


def figures(rows, expected=None):
    found = Portrait(len(rows) if expected is None else expected)
    for row in rows:
        found.add(row)
    return found.figures("d")


def test_every_row_is_counted_once():
    said = figures([*ROWS, record("你好，请介绍一下你自己", "好的", "b")])
    assert said["rows"] == said["looked_into"] == 21
    for length in said["lengths"].values():
        assert length["texts"] == sum(n for _, n in length["bins"]) == 21
    assert said["sources"] == [["a", 20], ["b", 1]]
    assert said["scripts"] == [["Latin", 20], ["Han", 1]]
    assert said["languages"]["prompts"] == [["en", 20], ["zh", 1]]
    assert said["openings"]["words"][0] == {"word": "write", "texts": 20, "next": [["a", 20]]}
    assert said["lengths"]["answer_chars"]["max"] == 20


def test_the_order_of_rows_changes_nothing():
    assert figures(ROWS) == figures(ROWS[::-1])


def test_of_many_rows_a_fair_part_is_looked_into(monkeypatch):
    monkeypatch.setattr(portrait, "LOOKED_INTO", 100)
    rows = [record(f"Question {i}", "y") for i in range(1000)]
    said = figures(rows)
    assert said["rows"] == said["lengths"]["turns"]["texts"] == 1000
    assert 70 < said["looked_into"] < 130  # 100 expected, standard deviation 9.5
    assert said["looked_into"] == said["openings"]["texts"]


def test_columns_that_a_source_brought_along():
    said = figures([record("a", "b", tag="math", tags=["x", "y"]), record("c", "d", tag="code")])
    assert said["columns"] == {"tag": [["code", 1], ["math", 1]], "tags": [["x", 1], ["y", 1]]}


def test_values_beyond_the_list_stand_together():
    said = figures([record("a", "b", f"s{i:02}") for i in range(portrait.LISTED + 5)])
    assert len(said["sources"]) == portrait.LISTED + 1
    assert said["sources"][-1] == [None, 5]


def test_tool_calls_are_part_of_an_answer():
    row = record("Weather?", "")
    row["messages"][1]["tool_calls"] = "[1234]"
    assert figures([row])["lengths"]["answer_chars"]["max"] == 6


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2}', '{"schema": 1, "rows": 3}'])
def test_a_file_that_is_no_portrait_is_named(tmp_path, text):
    path = tmp_path / "portrait.json"
    path.write_text(text)
    with pytest.raises(StageError, match=str(path)):
        read_portrait(path)


def test_a_portrait_comes_back_as_it_went(tmp_path):
    path = tmp_path / "portrait.json"
    path.write_text(json.dumps(figures(ROWS)))
    assert read_portrait(path) == figures(ROWS)
