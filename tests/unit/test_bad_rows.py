"""Rows that can't be read: each is refused alone, with its reason, and the others stay."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reader_fixture import ROW, TWO, jsonl, parquet, read, reasons, table, values

from sftflow.stage import StageError

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


ARRAY = '[{"a": "1"}, {"a": "2"}]'
WRAPPED = '{"n": 1, "data": [{"a": "1"}, {"a": "2"}], "m": {"x": 2}}'
LONG_WRAPPER = json.dumps({"rows": [{"a": "x" * 40_000}] * 30})  # more than one piece


@pytest.mark.parametrize(
    ("text", "settings", "count"),
    [
        (ARRAY, {}, 2),
        (WRAPPED, {"json_path": "data"}, 2),
        (f'{{"x": {WRAPPED}}}', {"json_path": "x.data"}, 2),
        (LONG_WRAPPER, {}, 30),
    ],
)
def test_no_row_behind_a_list_is_lost_unseen(tmp_path, text, settings, count):
    """Files laid one behind another: each list is read, what is no list is refused by the line."""
    rows, notes = read(tmp_path, f"{text}\n{text} {text}", "raw.json", **settings)
    assert (reasons(rows), notes["further_lists"]) == ([None] * 3 * count, 2)
    assert [row.number for row in rows] == list(range(1, 3 * count + 1))
    rows, _ = read(tmp_path, f"{text} and\n\nmore\n", "raw.json", **settings)
    assert reasons(rows) == [None] * count + ["invalid_json"] * 2
    assert [row.raw.strip() for row in rows[count:]] == ["and", "more"]


def test_what_a_row_says_can_not_steer_a_terminal(tmp_path):
    rows, _ = read(tmp_path, '{"a\\u001b[2J\\nb": 1, "a\\u001b[2J\\nb": 1}')
    assert rows[0].reason == "duplicate_key"
    assert rows[0].detail.isprintable()


@pytest.mark.parametrize("name", ["raw.csv", "raw.jsonl"])
def test_a_name_that_stands_twice_among_many_is_found_at_once(tmp_path, name):
    names = [f"k{i}" for i in range(50_000)] + ["k49999"]
    if name == "raw.jsonl":
        rows, _ = read(tmp_path, "{" + ",".join(f'"{key}":1' for key in names) + "}\n", name)
        assert reasons(rows) == ["duplicate_key"]
        return
    with pytest.raises(StageError, match="column 'k49999' twice"):
        read(tmp_path, ",".join(names) + "\n1\n", name)


def test_a_parquet_value_that_can_not_be_read_costs_its_row_and_the_rest_is_kept(tmp_path):
    zone = pa.array([0, None], pa.timestamp("s", tz="Mars/Phobos"))
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": ["x", "y"], "when": zone}), sink)
    rows, _ = read(tmp_path, sink.getvalue(), "raw.parquet")
    assert reasons(rows) == ["unreadable_value", None]
    assert "column 'when'" in rows[0].detail
    assert json.loads(rows[0].raw) == {"a": "x"}


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
