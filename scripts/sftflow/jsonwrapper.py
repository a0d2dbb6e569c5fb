"""A list of rows inside a JSON object: which one it is, and the way to it, reading no more."""

from __future__ import annotations

import re

from sftflow.jsontext import Refused, decode_at, parse
from sftflow.rawfiles import RawFile
from sftflow.stage import StageError
from sftflow.textstream import TextStream

# Names under which collections wrap their rows. A list under another name may as well be
# part of one row (its turns, its tools), so there the config has to say it.
WRAPPERS = {"data", "rows", "examples", "records", "items", "train", "samples", "dataset"}


def wrapper_key(file: RawFile, stream: TextStream) -> str | None:
    """Return the key of the list of rows, if the text is one object made around it.

    Raises StageError if there is such a list but which one is meant is not clear.
    """
    try:
        value, end = decode_at(stream.text, stream.position)
    except Refused as error:
        if error.reason == "truncated" and not stream.ended:
            return _long_wrapper(stream)
        return None
    if not isinstance(value, dict) or not stream.ends_behind(end):
        return None
    lists = [
        key
        for key, inner in value.items()
        if isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner)
    ]
    named = [key for key in lists if key.lower() in WRAPPERS]
    if len(named) == 1 and len(lists) == 1:
        return named[0]
    if named:
        raise _ambiguous(file, lists)
    return None


def _ambiguous(file: RawFile, lists: list[str]) -> StageError:
    return StageError(
        f"{file.name}: is one object with the lists {', '.join(map(repr, lists))}; "
        "set `json_path` to the one that holds the rows"
    )


def _long_wrapper(stream: TextStream) -> str | None:
    """Return the key of the list that the buffered text ends in, if its name is a wrapper's."""
    name = r'[,{]\s*"(' + "|".join(sorted(WRAPPERS)) + r')"\s*:\s*\[\s*\{'
    found = re.compile(name, re.IGNORECASE).search(stream.text, stream.position)
    if not found:
        return None
    before = stream.text[stream.position : found.start()]
    try:  # the name must be a key of the outer object and not of something within
        parse((before or "{") + "}")
    except Refused:
        return None
    return found[1]


def enter_list(file: RawFile, stream: TextStream, keys: list[str]) -> None:
    """Go to the first element of the list under ``keys``, passing over what comes before."""
    path = ".".join(keys)
    for key in keys:
        if stream.peek() != "{":
            raise StageError(f"{file.name}: json_path {path!r}: no object to look for {key!r} in")
        stream.position += 1
        names = []
        while stream.peek() == '"':
            name = _next_key(file, stream)
            if name == key:
                break
            names.append(name)
            _pass_value(file, stream)
        else:
            listed = ", ".join(names[:12]) or "none"
            raise StageError(f"{file.name}: json_path {path!r}: no key {key!r}; keys: {listed}")
    if stream.peek() != "[":
        raise StageError(f"{file.name}: json_path {path!r} is not a list")
    stream.position += 1


def leave_wrapper(file: RawFile, stream: TextStream, keys: list[str]) -> None:
    """Leave the object of a list that was taken by its name; StageError for a second list."""
    _leave(file, stream, taken=keys[-1])


def leave_objects(file: RawFile, stream: TextStream, keys: list[str]) -> None:
    """Leave the objects, one for each key, that ``enter_list`` went into."""
    for _ in keys:
        _leave(file, stream)


def _leave(file: RawFile, stream: TextStream, taken: str | None = None) -> None:
    """Pass over what else an object holds, and over its end."""
    while stream.peek() == ",":
        stream.position += 1
        if stream.peek() != '"':
            break
        name = _next_key(file, stream)
        if taken and stream.peek() == "[":
            raise _ambiguous(file, [taken, name])
        _pass_value(file, stream, comma=False)
    if stream.peek() == "}":
        stream.position += 1


def _next_key(file: RawFile, stream: TextStream) -> str:
    stream.fill(65536)
    try:
        name, stream.position = decode_at(stream.text, stream.position)
    except Refused as error:
        raise StageError(f"{file.name}: {error.detail} in a key of the outer object") from None
    if stream.peek() != ":":
        raise StageError(f"{file.name}: no ':' behind the key {name!r} of the outer object")
    stream.position += 1
    stream.peek()
    return name


def _pass_value(file: RawFile, stream: TextStream, comma: bool = True) -> None:
    if stream.peek() in ("{", "["):
        stream.skip_value()
    else:
        stream.fill(1 << 20)
        try:
            _, stream.position = decode_at(stream.text, stream.position)
        except Refused as error:
            raise StageError(f"{file.name}: {error.detail} in the outer object") from None
    if comma and stream.peek() == ",":
        stream.position += 1
        stream.peek()
