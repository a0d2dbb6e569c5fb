"""Raw files to rows: every layout, whatever it is called and however it is packed."""

import json
import os

import pytest
from reader_fixture import LAYOUTS, PACKERS, ROW, TWO, gzipped, jsonl, read, spec, table, values

from sftflow.notes import Notes
from sftflow.readers import read_source
from sftflow.stage import StageError


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rows(tmp_path, layout, packed):
    suffix = {"csv": "csv", "semicolons": "csv", "tsv": "tsv", "parquet": "parquet"}
    name = f"raw.{suffix.get(layout, 'json')}{packed}"
    rows, _ = read(tmp_path, PACKERS[packed](LAYOUTS[layout]), name)
    assert values(rows) == TWO
    assert [r.reason for r in rows] == [None, None]


@pytest.mark.parametrize("name", ["raw.json", "raw.jsonl", "raw.txt", "raw", "raw.csv"])
@pytest.mark.parametrize("layout", ["lines", "array", "pretty array", "pretty objects", "parquet"])
def test_content_counts_and_not_the_suffix(tmp_path, name, layout):
    rows, _ = read(tmp_path, LAYOUTS[layout], name)
    assert values(rows) == TWO


@pytest.mark.parametrize("name", ["raw.json", "raw.txt", "raw.jsonl"])
def test_a_table_by_another_name(tmp_path, name):
    rows, _ = read(tmp_path, LAYOUTS["csv"], name)
    assert values(rows) == TWO


def test_line_numbers_are_those_of_the_file(tmp_path):
    rows, notes = read(tmp_path, b"\n" + jsonl(TWO).replace(b"\n", b"\n\n"))
    assert [row.number for row in rows] == [2, 4]
    assert notes["blank_lines"] == 2  # the one before the first row is not counted


def test_line_separators_in_text_do_not_split_rows(tmp_path):
    said = [{"a": "one\u2028two\u0085three\u2029"}, {"a": "\u2029"}]
    rows, _ = read(tmp_path, jsonl(said))
    assert values(rows) == said


def test_whole_emoji_as_escapes_are_fine(tmp_path):
    rows, _ = read(tmp_path, r'{"a": "\ud83d\ude42"}')
    assert rows[0].value == {"a": "🙂"}


def test_a_single_object_is_one_row(tmp_path):
    row = {"instruction": "x", "output": "y", "tags": ["a"], "tools": [{"name": "f"}]}
    rows, _ = read(tmp_path, json.dumps(row, indent=2), "raw.json")
    assert values(rows) == [row]


def test_wrappers(tmp_path):
    rows, notes = read(tmp_path, json.dumps({"data": TWO}), "raw.json")
    assert values(rows) == TWO
    assert notes["rows_in_key:data"] == 1
    with pytest.raises(StageError, match="json_path"):
        read(tmp_path, json.dumps({"train": TWO, "test": TWO}), "raw.json")
    nested = json.dumps({"meta": {"a": [1]}, "x": {"n": 1.5, "list": TWO}, "more": 0})
    rows, _ = read(tmp_path, nested, "raw.json", json_path="x.list")
    assert values(rows) == TWO
    with pytest.raises(StageError, match="no key 'y'"):
        read(tmp_path, nested, "raw.json", json_path="y")
    with pytest.raises(StageError, match="is not a list"):
        read(tmp_path, nested, "raw.json", json_path="meta")


@pytest.mark.parametrize("indent", [None, 1])
def test_a_long_wrapper_is_streamed(tmp_path, indent):
    many = [{"instruction": f"question {i}", "output": "x" * 100} for i in range(300)]
    text = json.dumps({"version": "1", "rows": many, "end": {"a": [1]}}, indent=indent)
    rows, _ = read(tmp_path, text, "raw.json", max_row_bytes=2048)
    assert values(rows) == many
    text = json.dumps({"rows": many, "train": many}, indent=indent)
    with pytest.raises(StageError, match="'rows', 'train'"):
        read(tmp_path, text, "raw.json", max_row_bytes=2048)


def test_numbers_and_nulls_stay_what_they_are(tmp_path):
    row = {"i": 7, "f": 0.5, "b": True, "n": None, "d": "2024-01-05"}
    rows, _ = read(tmp_path, jsonl([row]))
    assert rows[0].value == row


def test_csv_is_text_and_nothing_but_text(tmp_path):
    row = {"a": "00700", "b": "1e5", "c": "True", "d": "2024-01-05", "e": "NA", "f": ""}
    rows, notes = read(tmp_path, table([row]), "raw.csv")
    assert rows[0].value == row
    assert notes["null_words_kept_as_text"] == 1


def test_csv_fields_with_everything_in_them(tmp_path):
    row = {"a": 'She said "no", twice;\n\nthen\tleft', "b": " spaces ", "c": "a\r\nb"}
    rows, _ = read(tmp_path, table([row, row]), "raw.csv")
    assert values(rows) == [row, row]


def test_only_carriage_returns(tmp_path):
    rows, notes = read(tmp_path, b"a,b\r1,2\r3,4\r", "raw.csv")
    assert [v["a"] for v in values(rows)] == ["1", "3"]
    assert notes["cr_line_ends"] == 1
    rows, _ = read(tmp_path, jsonl(TWO).replace(b"\n", b"\r"))
    assert values(rows) == TWO


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1252", "gb18030"])
def test_other_encodings_when_they_are_named(tmp_path, encoding):
    rows = [{"instruction": "é", "output": "è"}] * 3
    data = jsonl(rows).decode().encode(encoding)
    found, _ = read(tmp_path, data, encoding=encoding)
    assert values(found) == rows


def test_folders_globs_and_lists(tmp_path):
    folder = tmp_path / "raw"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "two.jsonl.gz").write_bytes(gzipped(jsonl(TWO)))
    (folder / "a.json").write_bytes(json.dumps([ROW]).encode())
    (folder / ".hidden.json").write_bytes(b"{}")
    (folder / "README.md").write_bytes(b"about")
    (folder / ".DS_Store").write_bytes(b"of a file manager: nothing to tell")
    notes = Notes()
    rows = list(read_source(spec(folder), notes))
    assert [(r.file, r.number) for r in rows] == [
        ("a.json", 1),
        ("b/two.jsonl.gz", 1),
        ("b/two.jsonl.gz", 2),
    ]
    assert notes["other_files_ignored"] == 2
    rows = list(read_source(spec(folder / "**" / "*.jsonl.gz"), Notes()))
    assert [r.file for r in rows] == ["two.jsonl.gz"] * 2
    both = {**spec(""), "path": [str(folder / "a.json"), str(folder / "*.json"), str(folder / "b")]}
    assert [r.file for r in read_source(both, Notes())] == ["a.json", *["two.jsonl.gz"] * 2]


def test_a_file_name_that_is_no_text(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.jsonl")).write_bytes(jsonl(TWO))
    rows = list(read_source(spec(tmp_path), Notes()))
    assert {row.file for row in rows} == {"caf\\xe9.jsonl"}


@pytest.mark.parametrize("packed", PACKERS)
def test_packed_pieces_behind_one_another(tmp_path, packed):
    data = PACKERS[packed](jsonl(TWO)) + PACKERS[packed](jsonl([ROW]))
    assert values(read(tmp_path, data)[0]) == [*TWO, ROW]
