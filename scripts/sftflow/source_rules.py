"""What a schema can't say of the sources that are read: files, columns, encodings, delimiters."""

from __future__ import annotations

import codecs
import glob
from collections.abc import Iterator
from pathlib import Path

from sftflow.labels import conversation_columns

TEXTS = ("prompt", "completion", "input", "system", "messages")  # columns of what is said


def source_faults(config: dict, root: Path) -> Iterator[str]:
    """Yield the faults of sources.*, of a config in the folder ``root``."""
    for name, source in config["sources"].items():
        key = f"sources.{name}"
        yield from _columns(key, source)
        yield from _reading(key, source)
        if source["make"] is not None:
            yield from _made(key, source)
        paths = source["path"] or []
        for path in [paths] if isinstance(paths, str) else paths:
            place = root / path
            found = [place] if place.exists() else glob.glob(str(place), recursive=True)  # noqa: PTH207 (absolute patterns)
            if not any(Path(one).is_file() or Path(one).is_dir() for one in found):
                yield f"{key}.path: there is no file, folder or match for {place}"


def _made(key: str, source: dict) -> Iterator[str]:
    """Faults of how foreign files are read, where the file is our own JSON lines in UTF-8."""
    plain = {"encoding": source["encoding"].lower() in ("utf-8", "utf8")}
    plain |= {option: source[option] is None for option in ("delimiter", "json_path")}
    plain |= {"format": source["format"] in ("auto", "messages", "preference")}  # told elsewhere
    for option in (option for option, fits in plain.items() if not fits):
        yield f"{key}.{option}: is for files, and this source is made here; leave it out"


def _columns(key: str, source: dict) -> Iterator[str]:
    columns = conversation_columns(source["columns"])
    if columns is None:
        if source["format"] == "columns":
            what = "is missing" if source["columns"] is None else "names no text"
            yield f"{key}.columns: {what}; format 'columns' needs prompt and completion"
        return
    if source["format"] not in ("auto", "columns"):
        yield f"{key}.columns: stands beside format '{source['format']}'; leave one out"
    if "messages" not in columns and not {"prompt", "completion"} <= set(columns):
        yield f"{key}.columns: needs prompt and completion, or messages"
    others = [part for part in TEXTS[:4] if part in columns]
    if "messages" in columns and others:
        yield f"{key}.columns: messages stands beside {' and '.join(others)}; leave one of them out"
    told: dict[str, str] = {}
    for part in TEXTS:
        if part in columns and columns[part] in told:
            both = f"{told[columns[part]]} and {part}"
            yield f"{key}.columns: {both} are the same column '{columns[part]}'"
        elif part in columns:
            told[columns[part]] = part


def _reading(key: str, source: dict) -> Iterator[str]:
    """Faults of how text is read, which else end the stage that reads."""
    encoding, delimiter = source["encoding"], source["delimiter"]
    try:
        known = codecs.lookup(encoding)
        "".encode(encoding)  # refuses what turns bytes into bytes, such as base64
    except (LookupError, ValueError):
        known = None
    if known is None:
        yield f"{key}.encoding: {encoding!r} is no encoding of text; write utf-8, cp1252, gb18030"
    if delimiter is not None and delimiter in '"\r\n\0':
        yield f"{key}.delimiter: {delimiter!r} can't stand between fields; write ',', ';' or '\\t'"
