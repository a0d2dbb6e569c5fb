"""What holds of the readers for any bytes: rows or one sentence, and good rows come back."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader_fixture import LAYOUTS, read, table, values

from sftflow.stage import StageError

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
