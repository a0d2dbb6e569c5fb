"""Rows of a Parquet file, a batch at a time, with the types that the file gives them."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sftflow.rawfiles import RawFile, byte_chunks
from sftflow.stage import StageError
from sftflow.textstream import SHOWN_CHARS

BATCH_ROWS = 256
# What pyarrow raises for values that Python has no type for: times beyond the year 9999, zones
# that nobody knows.
UNREADABLE = (ValueError, KeyError, OverflowError, TypeError, NotImplementedError)
# What pyarrow raises for damaged files; MemoryError for a length that is not to be believed.
DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError, OverflowError, MemoryError)


def parquet_rows(file: RawFile, spec: Mapping[str, Any]) -> Iterator[tuple]:
    """Yield (number, value, None, reason, detail) for each row; StageError for a damaged file."""
    number = 0
    with tempfile.TemporaryFile() as unpacked:
        for chunk in byte_chunks(file):  # Parquet is read from its end: no streaming from gzip
            unpacked.write(chunk)
        unpacked.seek(0)
        try:
            with pq.ParquetFile(unpacked, page_checksum_verification=True) as table:
                _refuse_twins(file, table.schema_arrow.names)
                for batch in table.iter_batches(batch_size=BATCH_ROWS):
                    for value in _values(batch):
                        number += 1
                        yield _checked(number, value, spec["max_row_bytes"])
        except DAMAGE as error:
            said = str(error).strip().split("\n")[0][:200]
            raise StageError(
                f"{file.name}: the Parquet file is damaged or cut off ({said}); fetch it again"
            ) from None


def _refuse_twins(file: RawFile, names: list[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise StageError(f"{file.name}: column {twice[0]!r} appears twice; rename one")


def _values(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Unreadable]:
    """Yield each row's values, or what went wrong with it."""
    try:
        yield from batch.to_pylist()
    except UNREADABLE:
        for i in range(batch.num_rows):
            try:
                yield batch.slice(i, 1).to_pylist()[0]
            except UNREADABLE as error:
                yield Unreadable(batch.slice(i, 1), error)


class Unreadable:
    """A row with a value that can't be read: which column it is in, and what the others hold."""

    def __init__(self, row: pa.RecordBatch, error: Exception) -> None:
        """Look at each column alone; ``error`` is that of the whole row."""
        self.reason = "not_utf8" if isinstance(error, UnicodeDecodeError) else "unreadable_value"
        self.detail, read = str(error)[:200], {}
        for name, column in zip(row.schema.names, row.columns, strict=True):
            try:
                read[name] = column.to_pylist()[0]
            except UNREADABLE as fault:
                self.detail = f"column {name!r}: {str(fault)[:200]}"
        self.raw = json.dumps(read, ensure_ascii=False, default=str)[:SHOWN_CHARS]


def _checked(number: int, value: dict[str, Any] | Unreadable, limit: int) -> tuple:
    if isinstance(value, Unreadable):
        return number, None, value.raw, value.reason, value.detail
    if _bytes_at_most(value) > limit:
        text = json.dumps(value, ensure_ascii=False, default=str)
        if len(text.encode()) > limit:
            detail = f"longer than max_row_bytes ({limit:,}); only its beginning is kept"
            return number, None, text[:SHOWN_CHARS], "row_too_long", detail
    return number, value, None, None, None


def _bytes_at_most(value: Any) -> int:
    """Return about how long a value is as JSON, from above: cheaper than writing it."""
    if isinstance(value, str):
        return 6 * len(value) + 2
    if isinstance(value, dict):
        return sum(_bytes_at_most(k) + _bytes_at_most(v) + 2 for k, v in value.items())
    if isinstance(value, list):
        return sum(_bytes_at_most(item) + 2 for item in value)
    return 40
