"""Kinds of files that hold no rows, told by their first bytes, and what to do with them."""

from __future__ import annotations

from sftflow.stage import StageError

MAGIC = {
    b"version https://git-lfs": "is a Git LFS pointer, not the data: run `git lfs pull`",
    b"PK\x03\x04": "is a ZIP archive: unpack it and name the files in it",
    b"7z\xbc\xaf": "is a 7z archive: unpack it and name the files in it",
    b"ARROW1": "is an Arrow IPC file: save it as Parquet",
    b"\xff\xff\xff\xff": "is an Arrow IPC stream: save it as Parquet",
    b"FEA1": "is an old Feather file: save it as Parquet",
    b"\x89HDF": "is an HDF5 file: save it as Parquet or JSONL",
    b"\x93NUMPY": "is a NumPy array: save it as Parquet or JSONL",
    b"SQLite format 3": "is an SQLite database: export the table as CSV or JSONL",
    b"%PDF": "is a PDF: extract rows of prompt and answer first",
    b"Rar!": "is a RAR archive: unpack it and name the files in it",
    b"\x04\x22\x4d\x18": "is packed by lz4: pack it by gzip or zstd",
    b"\x1f\x9d": "is packed by compress: pack it by gzip or zstd",
    b"\x89PNG": "is a picture",
    b"\xff\xd8\xff": "is a picture",
    b"GIF8": "is a picture",
    b"\x7fELF": "is a program",
    b"\xd0\xcf\x11\xe0": "is an old Excel or Word file: save it as CSV",
    b"Obj\x01": "is an Avro file: save it as Parquet",
    b"ORC": "is an ORC file: save it as Parquet",
    **{
        b"\x80" + bytes([protocol]): (
            "is a Python pickle, which is never opened: save it as Parquet or JSONL"
        )
        for protocol in range(2, 6)
    },
}
PACKED_MAGIC = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\x00")


def refuse_foreign(name: str, head: bytes) -> None:
    """Raise StageError if the unpacked beginning of a file is of a kind that holds no rows."""
    for magic, what in MAGIC.items():
        if head.startswith(magic):
            raise StageError(f"{name}: {what}")
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise StageError(f"{name}: is an HTML page, probably a login or error page")
    if start.startswith(b"<?xml"):
        raise StageError(f"{name}: is XML; convert it to JSONL")
    if head[8:10] == b'{"' and head[2:8] == bytes(6):  # a header of less than 64 KiB
        raise StageError(f"{name}: is safetensors, weights of a model")
    if head[257:262] == b"ustar":
        raise StageError(f"{name}: is a tar archive: unpack it and name the files in it")
    if head.startswith(PACKED_MAGIC):  # once more, behind what was undone
        raise StageError(f"{name}: is compressed twice; unpack it once")
