"""Raw files to rows: every kind, every fault, and garbage."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sftflow.notes import Notes
from sftflow.readers import read_source
from sftflow.stage import StageError

ROW = {"instruction": "Say hi.", "output": "Hi!"}
TWO = [ROW, {"instruction": "Zähle: 数", "output": "eins\u2028zwei 🙂"}]


def spec(path, **more):
    return {
        "path": str(path),
        "encoding": "utf-8",
        "delimiter": None,
        "json_path": None,
        "max_row_bytes": 1 << 20,
        **more,
    }


def read(tmp_path, data, name="raw.jsonl", **more):
    """Return (rows, notes) of a file with these bytes."""
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    notes = Notes()
    return list(read_source(spec(path, **more), notes)), notes


def values(rows):
    return [row.value for row in rows if row.reason is None]


def reasons(rows):
    return [row.reason for row in rows]


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def zstd(data):
    return pa.compress(data, "zstd", asbytes=True)


def parquet(rows):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def gzipped(content):
    """Compress without the time: two workers must see tests of one name."""
    return gzip.compress(content, mtime=0)


def table(rows, delimiter=","):
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(rows[0]), delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode()


LAYOUTS = {
    "lines": jsonl(TWO),
    "array": json.dumps(TWO).encode(),
    "pretty array": json.dumps(TWO, indent=2).encode(),
    "pretty objects": "\n".join(json.dumps(r, indent=2) for r in TWO).encode(),
    "objects on one line": b" ".join(json.dumps(r).encode() for r in TWO),
    "lines with commas": b",\n".join(json.dumps(r).encode() for r in TWO),
    "wrapped": json.dumps({"version": 1, "data": TWO}).encode(),
    "crlf": jsonl(TWO).replace(b"\n", b"\r\n"),
    "bom": b"\xef\xbb\xbf" + jsonl(TWO),
    "no final newline": jsonl(TWO)[:-1],
    "blank lines": b"\n\n" + jsonl(TWO).replace(b"\n", b"\n \n"),
    "csv": table(TWO),
    "tsv": table(TWO, "\t"),
    "semicolons": table(TWO, ";"),
    "parquet": parquet(TWO),
}
PACKERS = {
    "": bytes,
    ".gz": gzipped,
    ".zst": zstd,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


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


def test_whole_emoji_as_escapes_are_fine(tmp_path):
    rows, _ = read(tmp_path, r'{"a": "\ud83d\ude42"}')
    assert rows[0].value == {"a": "🙂"}


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,a\n1,2\n", "column 'a' twice"),
        ("a;b\n1;2\n", "correct `delimiter`"),
    ],
)
def test_csv_headers_that_stop(tmp_path, text, message):
    with pytest.raises(StageError, match=message):
        read(tmp_path, text, "raw.csv", delimiter=",")


def test_only_carriage_returns(tmp_path):
    rows, notes = read(tmp_path, b"a,b\r1,2\r3,4\r", "raw.csv")
    assert [v["a"] for v in values(rows)] == ["1", "3"]
    assert notes["cr_line_ends"] == 1
    rows, _ = read(tmp_path, jsonl(TWO).replace(b"\n", b"\r"))
    assert values(rows) == TWO


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("raw.jsonl", b"", "is empty"),
        ("raw.jsonl", b" \n\n", "no rows"),
        ("raw.json", b"[]", "no rows"),
        ("raw.csv", b"a,b\n", "no rows"),
        ("raw.parquet", parquet(TWO)[:-20], "damaged or cut off"),
        ("raw.parquet", b"no parquet", "no Parquet file"),
        ("raw.parquet", b"PAR1 and nothing", "damaged"),
        ("raw.parquet", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("raw.jsonl", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("raw.jsonl", b"<!DOCTYPE html>\n<html>", "HTML page"),
        ("raw.jsonl", b"PK\x03\x04abc", "ZIP"),
        ("raw.jsonl", gzipped(jsonl(TWO))[:-10], "damaged or cut off"),
        ("raw.jsonl", b"\x1f\x8b garbage", "damaged"),
        ("raw.jsonl.zst", zstd(jsonl(TWO))[:-4], "damaged or cut off"),
        ("raw.jsonl.gz", gzipped(gzipped(jsonl(TWO))), "compressed twice"),
        ("raw.jsonl", jsonl(TWO).decode().encode("utf-16"), "UTF-16"),
        ("raw.jsonl", jsonl(TWO).decode().encode("utf-16-le"), "UTF-16 without a mark"),
        ("raw.jsonl", jsonl(TWO) + b'{"a": "caf\xe9"}\n', "raw.jsonl:3: 0xE9 at byte"),
        ("raw.csv", b"a,b\ncaf\xe9,2\n", "raw.csv:2: 0xE9 at byte 7, column 4"),
        ("raw.jsonl", jsonl(TWO) + b"\0\0\0\0\n", "NUL byte at byte"),
        ("raw.txt", b"hello\nworld\n", "neither JSON nor a table"),
    ],
)
def test_files_that_stop(tmp_path, name, data, message):
    with pytest.raises(StageError, match=message) as error:
        read(tmp_path, data, name)
    assert str(error.value).startswith("raw.")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1252", "gb18030"])
def test_other_encodings_when_they_are_named(tmp_path, encoding):
    rows = [{"instruction": "é", "output": "è"}] * 3
    data = jsonl(rows).decode().encode(encoding)
    found, _ = read(tmp_path, data, encoding=encoding)
    assert values(found) == rows


@pytest.mark.parametrize("encoding", ["klingon", "rot13", "base64", "a\0b"])
def test_unknown_encodings(tmp_path, encoding):
    with pytest.raises(StageError, match="is unknown"):
        read(tmp_path, jsonl(TWO), encoding=encoding)


def test_the_place_of_a_bad_byte_far_into_the_file(tmp_path):
    good = jsonl([{"a": "x" * 90}]) * 30_000  # 3 MB: more than one piece
    with pytest.raises(StageError, match=rf"raw.jsonl:30001: 0xFF at byte {len(good) + 2}"):
        read(tmp_path, good + b'{"\xff": 1}\n')


def test_folders_globs_and_lists(tmp_path):
    folder = tmp_path / "raw"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "two.jsonl.gz").write_bytes(gzipped(jsonl(TWO)))
    (folder / "a.json").write_bytes(json.dumps([ROW]).encode())
    (folder / ".hidden.json").write_bytes(b"{}")
    (folder / "README.md").write_bytes(b"about")
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


def test_paths_that_stop(tmp_path):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path, message in [
        (tmp_path / "none.json", "no such file"),
        (tmp_path / "*.json", "no file matches"),
        (tmp_path / "empty", "no data files"),
        (tmp_path / "pipe", "neither a file nor a folder"),
        ("a\0b", "no such file"),
    ]:
        with pytest.raises(StageError, match=message):
            list(read_source(spec(path), Notes()))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = tmp_path / "raw.jsonl"
    path.write_bytes(jsonl(TWO))
    path.chmod(0)
    with pytest.raises(StageError, match="Permission denied"):
        list(read_source(spec(path), Notes()))


NAMES = ["raw.json", "raw.jsonl", "raw.csv", "raw.tsv", "raw.parquet", "raw", "raw.jsonl.gz"]
HEADS = [b"", b"{", b"[", b'{"a": ', b"a,b\n", b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b'"']


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(NAMES),
    head=st.sampled_from(HEADS),
    tail=st.one_of(
        st.binary(max_size=300),
        st.text('{}[]",:\\ \n\r\tab1é', max_size=300).map(str.encode),
    ),
)
def test_garbage_gives_rows_or_one_sentence(tmp_path, name, head, tail):
    try:
        rows, _ = read(tmp_path, head + tail, name, max_row_bytes=64)
    except StageError as error:
        assert "\n" not in str(error)
        return
    assert rows
    for row in rows:
        assert (row.value is None) == (row.reason is not None)
        assert row.reason is None or row.detail is not None
        row.text.encode()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    layout=st.sampled_from(["lines", "array", "pretty array", "pretty objects", "csv", "parquet"]),
    at=st.integers(0, 400),
    noise=st.binary(max_size=4),
)
def test_damage_to_a_good_file(tmp_path, layout, at, noise):
    data = LAYOUTS[layout]
    at = min(at, len(data))
    try:
        rows, _ = read(tmp_path, data[:at] + noise + data[at + len(noise) :], "raw.json")
    except StageError as error:
        assert "\n" not in str(error)
        return
    assert rows


JSON_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(
        st.dictionaries(JSON_TEXT, JSON_TEXT, min_size=1, max_size=3), min_size=1, max_size=6
    ),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
)
def test_any_rows_come_back_from_an_array_and_from_lines(tmp_path, rows, indent, ascii_only):
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    assert values(read(tmp_path, text, "raw.json")[0]) == rows
    lines = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows)
    assert values(read(tmp_path, lines, "raw.json")[0]) == rows


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=30)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6))
def test_any_cells_come_back_from_csv(tmp_path, rows):
    wanted = [{"instruction": a, "output": b} for a, b in rows]
    found, _ = read(tmp_path, table(wanted), "raw.csv")
    assert values(found) == wanted
