"""The files of a source: found, opened, decompressed and decoded to text, nothing replaced."""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow as pa

from sftflow.foreignfiles import refuse_foreign
from sftflow.notes import Notes
from sftflow.plainlines import one_line
from sftflow.stage import StageError

CHUNK_BYTES = 1 << 20
KNOWN = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
PACKED = (".gz", ".zst", ".bz2", ".xz")
# gzip reaches 1032:1 at most, real text some 30:1; beyond both bounds it is a bomb or a hole.
BOMB_BYTES, BOMB_RATIO = 1 << 30, 400

UTF_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class RawFile(NamedTuple):
    """One file of a source."""

    name: str  # within the source, '/' between folders: the same on every machine
    path: Path

    @property
    def kind(self) -> str:
        """Return the suffix that says the kind (``.jsonl`` of ``a.jsonl.gz``), or ``""``."""
        suffixes = [s.lower() for s in self.path.suffixes]
        while suffixes and suffixes[-1] in PACKED:
            suffixes.pop()
        return suffixes[-1] if suffixes else ""


def source_files(paths: str | list[str], notes: Notes) -> list[RawFile]:
    """Return the files that ``paths`` (files, folders, globs) stand for, in a fixed order.

    Raises StageError for a path that is not there or a folder without data files.
    """
    found: dict[Path, str] = {}
    for path in [paths] if isinstance(paths, str) else paths:
        for file in _expand(path, notes):
            found.setdefault(file.path, file.name)
    names: dict[str, int] = {}
    files = []
    for path, given in found.items():
        # File names are bytes, and may hold line ends.
        name = one_line(os.fsencode(given).decode("utf-8", "backslashreplace"))
        names[name] = names.get(name, 0) + 1
        files.append(RawFile(name if names[name] == 1 else f"{name}#{names[name]}", path))
    return files


def _expand(path: str, notes: Notes) -> list[RawFile]:
    place = Path(path)
    try:
        if place.is_dir():
            return _folder_files(place, notes)
        if place.exists():
            if not place.is_file():  # a pipe or a device could hold the stage forever
                raise StageError(f"{path}: is neither a file nor a folder")
            return [RawFile(place.name, place)]
        # Path.glob takes no absolute pattern.
        found = glob.glob(path, recursive=True)  # noqa: PTH207
        files = [match for match in found if Path(match).is_file()]
        matches = sorted(match for match in files if not _in_circle(Path(match)))
    except (OSError, ValueError) as error:
        raise StageError(f"{path}: {_reason(error)}") from None
    if not matches:
        kind = "no file matches it" if glob.has_magic(path) else "there is no such file"
        raise StageError(f"{path}: {kind}; correct `path` of the source")
    common = Path(os.path.commonpath([Path(m).parent for m in matches]))
    return [RawFile(Path(m).relative_to(common).as_posix(), Path(m)) for m in matches]


def _in_circle(path: Path) -> bool:
    """Say whether a path goes through a link to a folder above it: `**` finds all there again."""
    links = (parent for parent in path.parents if parent.is_symlink())
    return any(link.parent.resolve().is_relative_to(link.resolve()) for link in links)


def _folder_files(folder: Path, notes: Notes) -> list[RawFile]:
    def refuse(error: OSError) -> None:
        raise StageError(f"{error.filename}: {_reason(error)}")

    files = []
    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            file = RawFile((Path(root) / name).relative_to(folder).as_posix(), Path(root) / name)
            hidden = name.startswith(".")
            if hidden and file.kind not in KNOWN:
                continue  # .DS_Store and the like come and go by themselves
            # A pipe or a socket would hold the stage for ever; a link to nothing is told later.
            special = file.path.exists() and not file.path.is_file()
            if hidden or file.kind not in KNOWN or special:
                notes.add("other_files_ignored", file.name)
            else:
                files.append(file)
    if not files:
        raise StageError(
            f"{folder}: the folder has no data files ({', '.join(KNOWN)}, also .gz and .zst)"
        )
    return sorted(files)


def _reason(error: Exception) -> str:
    """Return what the operating system said, without number and path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def open_bytes(file: RawFile) -> IO[bytes]:
    """Open a file for reading and undo gzip, zstd, bzip2 or xz, seen by their first bytes."""
    try:
        raw = file.path.open("rb")
        head = raw.read(6)
        raw.seek(0)
    except (OSError, ValueError) as error:
        raise StageError(f"{file.name}: can't be read ({_reason(error)})") from None
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=raw)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        raw.close()
        stream = pa.CompressedInputStream(pa.OSFile(os.fspath(file.path)), "zstd")
        return io.BufferedReader(_Arrow(stream))
    if head.startswith(b"BZh"):
        return bz2.BZ2File(raw)
    if head.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(raw)
    return raw


class _Arrow(io.RawIOBase):
    """A pyarrow input stream as a Python file: Python 3.11 has no zstd of its own."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def byte_chunks(file: RawFile) -> Iterator[bytes]:
    """Yield a file's decompressed bytes; StageError for damage and for what is no data at all."""
    done, packed = 0, max(file.path.stat().st_size, 1) if file.path.exists() else 1
    with open_bytes(file) as stream:
        while True:
            try:
                chunk = stream.read(CHUNK_BYTES)
            except (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
                raise StageError(
                    f"{file.name}: the compressed data is damaged or cut off after "
                    f"{done:,} bytes of content ({_reason(error)}); fetch the file again"
                ) from None
            if not chunk:
                return
            if not done:
                refuse_foreign(file.name, chunk)
            done += len(chunk)
            if done > BOMB_BYTES and done > BOMB_RATIO * packed:
                raise StageError(
                    f"{file.name}: {packed:,} bytes expand to more than {done:,}; "
                    "unpack the file yourself if this is meant"
                )
            yield chunk


def text_chunks(file: RawFile, encoding: str, notes: Notes) -> Iterator[str]:
    """Yield a file's text in pieces of about 1 MiB, decoded strictly.

    A byte order mark is dropped and noted. A character cut off at the very end becomes
    U+FFFD and is noted as ``cut_character``: the last row is then refused by its reader.
    Raises StageError with line and byte for other encodings and for NUL bytes.
    """
    codec = _codec(encoding)
    wide = codec.startswith(("utf-16", "utf-32"))
    decoder = codecs.getincrementaldecoder(codec)()
    offset, lines, first = 0, 0, True
    for chunk in byte_chunks(file):
        if not wide:
            _refuse_wide(file, chunk, offset, first)
        if first and codec == "utf-8" and chunk.startswith(codecs.BOM_UTF8):
            notes.add("bom", file.name)
        held = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            raise _undecodable(file, error, codec, lines, offset - held) from None
        except UnicodeError as error:
            raise StageError(f"{file.name}: is not {codec} ({error})") from None
        if first:
            text = text.removeprefix("\ufeff")
        first = False
        offset += len(chunk)
        lines += text.count("\n")
        yield text
    if decoder.getstate()[0]:
        notes.add("cut_character", file.name)
        yield "\ufffd"


def _codec(encoding: str) -> str:
    try:
        info = codecs.lookup(encoding)
        if not info._is_text_encoding:
            raise LookupError
    except (LookupError, ValueError):
        raise StageError(
            f"encoding {encoding!r} is unknown; use a name such as utf-8, cp1252 or utf-16"
        ) from None
    return "utf-8" if info.name == "utf-8-sig" else info.name


def _refuse_wide(file: RawFile, chunk: bytes, offset: int, first: bool) -> None:
    """Raise StageError for UTF-16, UTF-32 and for NUL bytes in what should be plain text."""
    if first:
        for mark, name in UTF_MARKS.items():
            if chunk.startswith(mark):
                raise StageError(
                    f"{file.name}: is {name} ({mark.hex(' ').upper()} at byte 0); set `encoding: "
                    f"{name.lower()}` or convert it: iconv -f {name} -t UTF-8"
                )
    nul = chunk.find(b"\0")
    if nul < 0:
        return
    share = chunk[:200].count(0) / len(chunk[:200])
    if first and 1 / 3 <= share < 7 / 8:
        wide = 32 if share > 2 / 3 else 16
        hint = f"looks like UTF-{wide} without a mark: set `encoding: utf-{wide}-le` (or -be)"
    else:
        hint = "is damaged or no text: fetch it again"
    raise StageError(f"{file.name}: NUL byte at byte {offset + nul}; the file {hint}")


def _undecodable(
    file: RawFile, error: UnicodeDecodeError, codec: str, lines: int, offset: int
) -> StageError:
    """Return the error that names line, column and byte of what can't be decoded."""
    before = error.object[: error.start]
    line = lines + before.count(b"\n") + 1
    column = error.start - (before.rfind(b"\n") + 1) + 1
    place = f"byte {offset + error.start}" + (f", column {column}" if b"\n" in before else "")
    wrong = f"0x{error.object[error.start]:02X}"
    hint = "set `encoding: cp1252` (or what it is) or convert the file to UTF-8"
    if codec != "utf-8":
        hint = "the file is damaged there, or `encoding` is another one"
    return StageError(f"{file.name}:{line}: {wrong} at {place} is not {codec}; {hint}")
