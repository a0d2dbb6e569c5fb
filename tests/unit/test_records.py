"""Tables of records: streamed, whole or not there, the same bytes again."""

import json

import pyarrow.parquet as pq
import pytest

from sftflow import records
from sftflow.records import (
    RECORD,
    content_id,
    message,
    open_table,
    raw_text,
    read_rows,
    write_table,
)


def record(number, text="a"):
    turns = [message("user", text), message("assistant", "b")]
    return {
        "id": str(number),
        "source": "s",
        "file": None,
        "row": number,
        "messages": turns,
        "tools": None,
        "group": f"g{number}",
        "tags": ["a", "b"] if number % 2 else None,
    }


def test_rows_come_back(tmp_path):
    rows = [record(i) for i in range(10)]
    assert write_table(tmp_path / "t.parquet", iter(rows), RECORD, batch_rows=3) == 10
    assert list(read_rows(tmp_path / "t.parquet")) == rows
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 4


def test_a_table_without_rows_has_its_columns(tmp_path):
    assert write_table(tmp_path / "t.parquet", [], RECORD) == 0
    assert pq.read_schema(tmp_path / "t.parquet").equals(RECORD)


def test_long_rows_are_written_before_a_batch_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "BATCH_CHARS", 100)
    write_table(tmp_path / "t.parquet", [record(i, "x" * 60) for i in range(4)], RECORD)
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 2


def test_nothing_is_left_of_a_table_that_failed(tmp_path):
    with pytest.raises(RuntimeError):
        with open_table(tmp_path / "t.parquet", RECORD) as table:
            table.add(record(1))
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_went_is_kept_with_its_labels():
    said = json.loads(raw_text(record(1)))
    assert said == {key: record(1)[key] for key in ("messages", "tools", "group", "tags")}
    unlabelled = {**record(1), "group": None, "tags": None}
    assert json.loads(raw_text(unlabelled)).keys() == {"messages", "tools"}


def test_the_id_says_what_is_said_and_not_where(tmp_path):
    other = {"source": "other", "group": "another", "tags": ["c"]}
    assert content_id(record(1)) == content_id({**record(2), **other})
    assert content_id(record(1)) != content_id(record(1, "c"))
    assert content_id(record(1)) != content_id({**record(1), "tools": "[]"})
