"""Rows of delimited text (RFC 4180), every field a text: nothing is typed, nothing is null."""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from sftflow.notes import Notes
from sftflow.rawfiles import RawFile
from sftflow.stage import StageError
from sftflow.textstream import SHOWN_CHARS, Line, TextStream

DELIMITERS = (",", "\t", ";", "|")
NULL_WORDS = {"NA", "N/A", "None", "null", "NULL", "nan", "NaN"}
MOST_OPEN_QUOTES = 100  # each costs a second look at up to max_row_bytes


def csv_rows(
    file: RawFile, stream: TextStream, spec: Mapping[str, Any], notes: Notes
) -> Iterator[tuple]:
    """Yield (record number, value, raw, reason, detail); the header is not a record.

    Raises StageError for a header that can't be used and for text that is no table.
    """
    limit = spec["max_row_bytes"]
    csv.field_size_limit(max(2 * limit, 131072))
    delimiter = spec["delimiter"] or _delimiter(file, stream, notes)
    records = _Records(file, stream.lines(limit), delimiter, limit)
    header = _header(file, records, delimiter, spec["delimiter"])
    number = 0
    for fields, raw, reason, detail in records:
        if fields == []:
            notes.add("blank_lines", file.name)
            continue
        number += 1
        if reason is None and len(fields) != len(header):
            reason = "ragged_row"
            detail = (
                f"{len(fields)} fields, header has {len(header)}: quote any {delimiter!r} in text"
            )
        if reason is None and records.last and notes["cut_character"] and raw.endswith("\ufffd"):
            reason, detail = "truncated", "the file ends inside a character"
        if reason:
            yield number, None, raw, reason, detail
            continue
        if not NULL_WORDS.isdisjoint(fields):
            notes.add("null_words_kept_as_text", f"{file.name}:{number}")
        yield number, dict(zip(header, fields, strict=True)), raw, None, None


def _delimiter(file: RawFile, stream: TextStream, notes: Notes) -> str:
    """Return the delimiter of the first line: by suffix, else the one that it has most of."""
    line = stream.text[stream.position :].split("\n", 1)[0]
    outside = "".join(line.split('"')[::2])
    usual = "\t" if file.kind == ".tsv" else ","
    if usual in outside:
        return usual
    best = max(DELIMITERS, key=outside.count)
    if not outside.count(best):
        return usual
    notes.add(f"delimiter_recognised:{best!r}", file.name)
    return best


def _header(file: RawFile, records: _Records, delimiter: str, given: str | None) -> list[str]:
    fields, _, reason, detail = next(iter(records), ([], "", "no_header", "no header"))
    if reason:
        raise StageError(f"{file.name}: the header can't be read: {detail}")
    header = [name.strip() for name in fields]
    if file.kind not in (".csv", ".tsv") and len(header) < 2:
        raise StageError(
            f"{file.name}: neither JSON nor a table: it begins with {fields[0][:40]!r}"
        )
    if given and len(header) == 1 and any(d in header[0] for d in DELIMITERS):
        raise StageError(
            f"{file.name}: one column {header[0][:80]!r} with `delimiter: {delimiter!r}`; "
            "correct `delimiter` or leave it out"
        )
    twice = sorted(name for name, count in Counter(header).items() if count > 1)
    if twice:
        raise StageError(f"{file.name}: the header names column {twice[0]!r} twice; rename one")
    return header


class _Records:
    """Records of delimited lines; one that can't be parsed costs its first line, not the rest."""

    def __init__(self, file: RawFile, lines: Iterator[Line], delimiter: str, limit: int) -> None:
        self.file, self.delimiter, self.limit = file, delimiter, limit
        self.last = False  # the text has ended, and this is its last record
        self._lines, self._again = lines, deque()
        self._taken: list[Line] = []
        self._open_quotes = 0

    def __iter__(self) -> Iterator[tuple[list[str], str, str | None, str | None]]:
        return self

    def __next__(self) -> tuple[list[str], str, str | None, str | None]:
        self._taken = []
        reader = csv.reader(self._feed(), delimiter=self.delimiter, strict=True)
        try:
            fields = next(reader)
        except csv.Error as error:
            return self._refuse(str(error))
        if any(line.too_long for line in self._taken):
            return self._refuse("too long")
        raw = "\n".join(line.text for line in self._taken).removesuffix("\r")
        self.last = not self._taken[-1].ended
        return fields, raw, None, None

    def _feed(self) -> Iterator[str]:
        """Hand lines to the parser until the record has grown too long to be one."""
        size = 0
        while size <= self.limit:
            line = self._again.popleft() if self._again else next(self._lines, None)
            if line is None:
                return
            self._taken.append(line)
            size += len(line.text) + 1
            yield line.text + "\n"

    def _refuse(self, said: str) -> tuple[list[str], str, str | None, str | None]:
        """Refuse the first line taken, and put the others back."""
        first, *rest = self._taken
        self._again.extendleft(reversed(rest))
        raw = first.text[:SHOWN_CHARS] if first.too_long else first.text
        if first.too_long:
            return [raw], raw, "row_too_long", f"longer than max_row_bytes ({self.limit:,})"
        if "unexpected end of data" not in said:
            return [raw], raw, "invalid_csv", f"{said} (line {first.number})"
        self._open_quotes += 1
        if self._open_quotes > MOST_OPEN_QUOTES:
            raise StageError(
                f"{self.file.name}:{first.number}: more than {MOST_OPEN_QUOTES} quotes are never "
                "closed; is `delimiter` right, are quotes inside fields doubled?"
            )
        detail = f"the quote that opens in line {first.number} is never closed"
        return [raw], raw, "open_quote", detail
