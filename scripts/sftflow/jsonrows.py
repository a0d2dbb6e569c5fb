"""Rows of JSON text: one object per line, an array, objects one after another, or a wrapper.

Which of them a file is, its first value says and not its suffix. Every reader yields
(row number, value or None, raw text, reason or None, detail or None).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from sftflow.jsontext import Refused, decode_at, parse
from sftflow.jsonwrapper import enter_list, leave_objects, leave_wrapper, wrapper_key
from sftflow.notes import Notes
from sftflow.rawfiles import RawFile
from sftflow.stage import StageError
from sftflow.textstream import SHOWN_CHARS, TextStream

Fields = tuple[int, Any, str | None, str | None, str | None]
FIRST_KEY = re.compile(r'\{\s*("(?:[^"\\]|\\.)*")\s*:')


def looks_like_json(stream: TextStream, kind: str) -> bool:
    """Tell JSON from delimited text by what stands at the stream's position."""
    first = stream.peek()
    if kind in (".csv", ".tsv"):
        return first in ("{", "[") and _starts_with_value(stream)
    if first in ("{", "["):
        return True
    lines = stream.text[stream.position :][:65536].splitlines()[:20]
    return kind in (".json", ".jsonl", ".ndjson") and (
        len(lines) < 2 or any(line.startswith("{") for line in lines)
    )


def _starts_with_value(stream: TextStream) -> bool:
    try:
        value, _ = decode_at(stream.text, stream.position)
    except Refused as error:
        return error.reason not in ("invalid_json", "truncated")
    return isinstance(value, dict) or (bool(value) and isinstance(value[0], dict))


def json_rows(
    file: RawFile, stream: TextStream, spec: Mapping[str, Any], notes: Notes
) -> Iterator[Fields]:
    """Yield the rows of JSON text in ``stream``, which is filled to ``max_row_bytes``."""
    limit = spec["max_row_bytes"]
    first = stream.peek()
    if spec["json_path"]:
        yield from _lists(file, stream, limit, notes, spec["json_path"].split("."), leave_objects)
    elif first == "[":
        yield from _lists(file, stream, limit, notes, [], leave_objects)
    elif first == "{" and (key := wrapper_key(file, stream)):
        notes.add(f"rows_in_key:{key}", file.name)
        yield from _lists(file, stream, limit, notes, [key], leave_wrapper)
    elif _one_per_line(stream):
        yield from _line_rows(file, stream, limit, notes)
    else:
        yield from _elements(file, stream, limit, notes, closing="")


def _lists(
    file: RawFile,
    stream: TextStream,
    limit: int,
    notes: Notes,
    keys: list[str],
    leave: Callable[[RawFile, TextStream, list[str]], None],
) -> Iterator[Fields]:
    """Yield the rows of the list under ``keys``, of each such list if several follow one another.

    What follows them and is none is refused line by line, so that no row is lost unseen.
    """
    number = 0
    while True:
        enter_list(file, stream, keys)
        number = yield from _elements(file, stream, limit, notes, closing="]", number=number)
        leave(file, stream, keys)
        if stream.peek() != ("{" if keys else "["):
            break
        notes.add("further_lists", f"{file.name}:{number + 1}")
    if stream.peek():
        for line in stream.lines(limit):
            if line.text.strip():
                number += 1
                shown = line.text[:SHOWN_CHARS]
                yield number, None, shown, "invalid_json", "text after the end of the list"


def _one_per_line(stream: TextStream) -> bool:
    """Tell one object per line from objects laid out over several lines."""
    rest = stream.text[stream.position :]
    line = rest.split("\n", 1)[0]
    try:
        parse(line)
        return True
    except Refused:
        pass
    try:
        decode_at(rest, 0)
        return False  # an object that goes on behind its first line, or two on one line
    except Refused as error:
        if error.reason not in ("invalid_json", "truncated"):
            return line.rstrip().endswith("}")
    return line.strip() not in ("{", "") and not re.match(r"\{\s*\n\s", rest)


def _line_rows(file: RawFile, stream: TextStream, limit: int, notes: Notes) -> Iterator[Fields]:
    for line in stream.lines(limit):
        if line.too_long or len(line.text.encode()) > limit:
            yield _too_long(line.number, line.text, limit)
            continue
        if not line.text.strip(" \t\r"):
            notes.add("blank_lines", f"{file.name}:{line.number}")
            continue
        try:
            value = parse(line.text)
        except Refused as error:
            reason, detail = error.reason, error.detail
            if reason == "truncated" and line.ended:
                reason = "invalid_json"
            elif reason == "truncated":
                detail += "; the last line has no end, so the file is probably cut off"
            yield line.number, None, line.text, reason, detail
        else:
            yield _checked(line.number, value, line.text)


def _checked(number: int, value: Any, raw: str) -> Fields:
    if isinstance(value, dict):
        return number, value, raw, None, None
    kind = {list: "list", str: "text", type(None): "null", bool: "true or false"}
    what = kind.get(type(value), "number")
    return number, None, raw, "not_an_object", f"the row is a {what} and not an object"


def _too_long(number: int, raw: str, limit: int) -> Fields:
    detail = f"longer than max_row_bytes ({limit:,}); only its beginning is kept"
    return number, None, raw[:SHOWN_CHARS], "row_too_long", detail


def _elements(
    file: RawFile, stream: TextStream, limit: int, notes: Notes, closing: str, number: int = 0
) -> Generator[Fields, None, int]:
    """Yield the values up to ``closing``, or up to the end of the text if it is ``""``.

    They are counted on from ``number``; return the last one's.
    """
    begun, comma = number, True
    while True:
        mark = stream.peek()
        if mark == closing or mark == "":
            stream.position += len(mark)
            if mark != closing:
                number += 1
                yield number, None, "", "truncated", "the list has no end: the file is cut off"
            elif comma and number > begun and closing:
                notes.add("comma_at_end_of_list", file.name)
            return number
        if mark == ",":
            stream.position += 1
            if comma:
                number += 1
                yield number, None, ",", "invalid_json", "a comma without a value before it"
            elif not closing:
                notes.add("commas_between_rows", f"{file.name}:{number}")
            comma = True
            continue
        number += 1
        if not comma and closing:
            notes.add("comma_missing_in_list", f"{file.name}:{number}")
        comma = False
        yield _element(file, stream, number, limit)


def _element(file: RawFile, stream: TextStream, number: int, limit: int) -> Fields:
    stream.fill(limit + 1)
    start = stream.position
    try:
        value, end = decode_at(stream.text, start)
    except Refused as error:
        return _bad_element(file, stream, number, limit, error)
    raw = stream.text[start:end]
    stream.position = end
    if len(raw) > limit or len(raw.encode()) > limit:
        return _too_long(number, raw, limit)
    return _checked(number, value, raw)


def _bad_element(
    file: RawFile, stream: TextStream, number: int, limit: int, error: Refused
) -> Fields:
    """Refuse one value and go on behind it: at the next value that begins alike, or its bracket."""
    start = stream.position
    if error.reason == "truncated" and stream.ended:
        raw, stream.position = stream.text[start:], len(stream.text)
        return number, None, raw[:limit], "truncated", "the file ends inside this row"
    if error.reason == "truncated":
        shown, closed = stream.skip_value()
        if closed:
            return _too_long(number, shown, limit)
        raise StageError(
            f"{file.name}: row {number} is longer than max_row_bytes and has no end; "
            "repair the file or set max_row_bytes"
        )
    if error.reason == "invalid_json":
        alike = _next_alike(stream, start)
        if alike:
            raw, stream.position = stream.text[start:alike], alike
            return number, None, raw.rstrip(", \r\n\t")[:limit], error.reason, error.detail
    if stream.text[start] not in "[{":
        other = re.compile(r"[,\]\[{\n]").search(stream.text, start + 1)
        stream.position = other.start() if other else len(stream.text)
        return number, None, stream.text[start : stream.position], error.reason, error.detail
    shown, closed = stream.skip_value()
    if not closed:
        raise StageError(
            f"{file.name}: row {number}: {error.detail}, and its brackets never close, "
            "so the rest can't be read; repair the file or save it as one object per line"
        )
    return number, None, shown, error.reason, error.detail


def _next_alike(stream: TextStream, start: int) -> int | None:
    """Return where the next object with the same first key begins, in what is at hand."""
    key = FIRST_KEY.match(stream.text, start)
    if not key:
        return None
    alike = re.compile(r"\}\s*,?\s*(\{\s*" + re.escape(key[1]) + r"\s*:)")
    found = alike.search(stream.text, key.end())
    return found.start(1) if found else None
