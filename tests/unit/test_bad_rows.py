"""Rows that can't be read: each is refused alone, with its reason, and the others stay."""

import json

import pytest
from reader_fixture import ROW, TWO, jsonl, parquet, read, reasons, table, values

LINES = {
    "duplicate_key": '{"a": "x", "a": "y"}',
    "not_finite": '{"a": NaN}',
    "half_surrogate": r'{"a": "\ud83d"}',
    "too_deep": '{"a": ' + "[" * 70 + "]" * 70 + "}",
    "long_number": '{"a": ' + "1" * 5000 + "}",
    "not_an_object": "[1, 2]",
    "invalid_json": "{'a': 'x'}",
}


@pytest.mark.parametrize("reason", LINES)
def test_a_bad_line_is_refused_with_its_reason(tmp_path, reason):
    rows, _ = read(tmp_path, f'{{"a": "x"}}\n{LINES[reason]}\n{{"a": "z"}}\n')
    assert reasons(rows) == [None, reason, None]
    assert rows[1].raw == LINES[reason]
    assert rows[1].number == 2


@pytest.mark.parametrize("reason", [r for r in LINES if r != "not_an_object"])
def test_a_bad_element_of_an_array_is_refused_alone(tmp_path, reason):
    rows, _ = read(tmp_path, f'[{{"a": "x"}},\n{LINES[reason]}\n, {{"a": "z"}}]', "raw.json")
    assert reasons(rows) == [None, reason, None]


@pytest.mark.parametrize(
    ("bad", "detail"),
    [
        ("{'a': 'x'}", "Python dict"),
        ('{"a": "x",}', "comma before '}'"),
        ('{"a": "x\ty"}', "control character U+0009"),
        ('{"a": Infinity}', "Infinity is not JSON"),
        ('{"a": 1e999}', "out of range"),
        ('{"a": "x"} trailing', "after the end"),
        ("{" * 100_000, ""),
        ("[" * 100_000, ""),
    ],
)
def test_details_say_what_is_wrong(tmp_path, bad, detail):
    rows, _ = read(tmp_path, f'{{"a": "x"}}\n{bad}\n')
    assert rows[1].reason
    assert detail in rows[1].detail


def test_truncated_last_line(tmp_path):
    rows, _ = read(tmp_path, jsonl(TWO) + b'{"instruction": "cut of')
    assert reasons(rows) == [None, None, "truncated"]
    assert "cut off" in rows[2].detail


def test_cut_inside_a_character(tmp_path):
    rows, notes = read(tmp_path, jsonl(TWO) + '{"instruction": "ä'.encode()[:-1])
    assert reasons(rows) == [None, None, "truncated"]
    assert notes["cut_character"] == 1
    rows, _ = read(tmp_path, "a,b\nx,y\nz,ä".encode()[:-1], "raw.csv")
    assert reasons(rows) == [None, "truncated"]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_truncated_array(tmp_path, cut):
    rows, _ = read(tmp_path, json.dumps([ROW] * 5).encode()[:-cut], "raw.json")
    assert reasons(rows)[:4] == [None] * 4
    assert reasons(rows)[-1] == "truncated"


def test_a_quote_missing_in_an_array_costs_one_row(tmp_path):
    text = json.dumps([{"instruction": f"q{i}", "output": "answer"} for i in range(5)], indent=1)
    rows, _ = read(tmp_path, text.replace('"q2"', '"q2'), "raw.json")
    assert reasons(rows) == [None, None, "invalid_json", None, None]
    assert '"q2' in rows[2].raw


def test_comma_faults_between_elements(tmp_path):
    rows, notes = read(tmp_path, '[{"a": "1"}, {"a": "2"} {"a": "3"},]', "raw.json")
    assert len(values(rows)) == 3
    assert notes["comma_at_end_of_list"] == 1
    assert notes["comma_missing_in_list"] == 1


def test_text_behind_an_array_is_refused(tmp_path):
    rows, _ = read(tmp_path, '[{"a": "1"}] [{"a": "2"}]', "raw.json")
    assert reasons(rows) == [None, "invalid_json"]


@pytest.mark.parametrize("layout", ["lines", "array", "csv", "parquet"])
def test_a_huge_row_is_refused_alone(tmp_path, layout):
    rows = [ROW, {"instruction": 'x"{[\\' * 300_000, "output": "y"}, ROW]
    data = {
        "lines": lambda: jsonl(rows),
        "array": lambda: json.dumps(rows).encode(),
        "csv": lambda: table(rows),
        "parquet": lambda: parquet(rows),
    }[layout]()
    suffix = {"array": "json", "lines": "jsonl"}.get(layout, layout)
    found, _ = read(tmp_path, data, f"raw.{suffix}")
    assert values(found) == [ROW, ROW]
    assert len(found) == 3
    assert found[1].reason == "row_too_long"
    assert len(found[1].raw) <= 4096


def test_a_huge_first_row_of_lines(tmp_path):
    rows = [{"instruction": "x" * 100_000, "output": "y"}, ROW]
    found, _ = read(tmp_path, jsonl(rows), max_row_bytes=2048)
    assert reasons(found) == ["row_too_long", None]


def test_ragged_and_broken_csv_rows(tmp_path):
    text = 'a,b\n1,2\n3\n4,5,6\n"x"y,2\n7,8\n"open,9\n10,11\n'
    rows, _ = read(tmp_path, text, "raw.csv")
    assert reasons(rows) == [
        None,
        "ragged_row",
        "ragged_row",
        "invalid_csv",
        None,
        "open_quote",
        None,
    ]
    assert rows[2].raw == "4,5,6"
    assert [v["a"] for v in values(rows)] == ["1", "7", "10"]
