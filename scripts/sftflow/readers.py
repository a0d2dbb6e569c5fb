"""Rows of raw files, one by one: JSON, JSON Lines, CSV, TSV and Parquet, told by content.

Nothing is inferred and nothing repaired: a value comes out as it stands in the file, or its
row comes out with a reason why it can't be used. What makes a whole file unreadable is a
StageError. Row numbers are 1-based: the line in JSON Lines, else the record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sftflow.csvrows import csv_rows
from sftflow.jsonrows import json_rows, looks_like_json
from sftflow.notes import Notes
from sftflow.parquetrows import parquet_rows
from sftflow.rawfiles import RawFile, byte_chunks, source_files, text_chunks
from sftflow.stage import StageError
from sftflow.textstream import TextStream


class Row(NamedTuple):
    """One row of a file: ``value``, or else ``reason`` and ``detail`` of its refusal."""

    file: str
    number: int
    value: dict[str, Any] | None
    raw: str | None  # the text as it stands in the file; None where it has no text (Parquet)
    reason: str | None = None
    detail: str | None = None

    @property
    def text(self) -> str:
        """Return the row as text, whatever it came from."""
        if self.raw is not None:
            return self.raw
        return json.dumps(self.value, ensure_ascii=False, default=str)


def read_source(spec: Mapping[str, Any], notes: Notes) -> Iterator[Row]:
    """Yield every row of the files that ``spec["path"]`` names, readable or not.

    ``spec`` has path, encoding, delimiter, json_path and max_row_bytes.
    """
    for file in source_files(spec["path"], notes):
        yield from read_file(file, spec, notes)


def read_file(file: RawFile, spec: Mapping[str, Any], notes: Notes) -> Iterator[Row]:
    """Yield every row of one file; raise StageError if it has none."""
    head = next(byte_chunks(file), b"")
    if not head:
        raise StageError(f"{file.name}: the file is empty")
    if head.startswith(b"PAR1"):
        rows = parquet_rows(file, spec)
    elif file.kind == ".parquet":
        raise StageError(
            f"{file.name}: is no Parquet file: it begins with {head[:8]!r} and not with PAR1"
        )
    else:
        rows = _text_rows(file, spec, notes)
    empty = True
    for fields in rows:
        empty = False
        yield Row(file.name, *fields)
    if empty:
        raise StageError(f"{file.name}: the file has no rows")


def _text_rows(file: RawFile, spec: Mapping[str, Any], notes: Notes) -> Iterator[tuple]:
    stream = TextStream(_plain_line_ends(file, spec["encoding"], notes))
    stream.fill(spec["max_row_bytes"])
    if not stream.peek():
        return iter(())
    if looks_like_json(stream, file.kind):
        return json_rows(file, stream, spec, notes)
    return csv_rows(file, stream, spec, notes)


def _plain_line_ends(file: RawFile, encoding: str, notes: Notes) -> Iterator[str]:
    """Yield the text of a file; note CRLF, and turn CR into LF where CR is the only line end."""
    only_cr = None
    for text in text_chunks(file, encoding, notes):
        if only_cr is None:
            only_cr = "\r" in text.rstrip("\r") and "\n" not in text
            if "\r\n" in text:
                notes.add("crlf_line_ends", file.name)
            if only_cr:
                notes.add("cr_line_ends", file.name)
        yield text.replace("\r", "\n") if only_cr else text
