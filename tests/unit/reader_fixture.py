"""Raw files of every layout for tests of the readers, and short ways to read them."""

import bz2
import csv
import gzip
import io
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq

from sftflow.notes import Notes
from sftflow.readers import read_source

ROW = {"instruction": "Say hi.", "output": "Hi!"}
TWO = [ROW, {"instruction": "Zähle: 数", "output": "eins\u2028zwei 🙂"}]


def spec(path, **more):
    return {
        "path": str(path),
        "encoding": "utf-8",
        "delimiter": None,
        "json_path": None,
        "max_row_bytes": 1 << 20,
        **more,
    }


def read(tmp_path, data, name="raw.jsonl", **more):
    """Return (rows, notes) of a file with these bytes."""
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    notes = Notes()
    return list(read_source(spec(path, **more), notes)), notes


def values(rows):
    return [row.value for row in rows if row.reason is None]


def reasons(rows):
    return [row.reason for row in rows]


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def zstd(data):
    return pa.compress(data, "zstd", asbytes=True)


def parquet(rows):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def gzipped(content):
    """Compress without the time: two workers must see tests of one name."""
    return gzip.compress(content, mtime=0)


def table(rows, delimiter=","):
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(rows[0]), delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode()


LAYOUTS = {
    "lines": jsonl(TWO),
    "array": json.dumps(TWO).encode(),
    "pretty array": json.dumps(TWO, indent=2).encode(),
    "pretty objects": "\n".join(json.dumps(r, indent=2) for r in TWO).encode(),
    "objects on one line": b" ".join(json.dumps(r).encode() for r in TWO),
    "lines with commas": b",\n".join(json.dumps(r).encode() for r in TWO),
    "wrapped": json.dumps({"version": 1, "data": TWO}).encode(),
    "crlf": jsonl(TWO).replace(b"\n", b"\r\n"),
    "bom": b"\xef\xbb\xbf" + jsonl(TWO),
    "no final newline": jsonl(TWO)[:-1],
    "blank lines": b"\n\n" + jsonl(TWO).replace(b"\n", b"\n \n"),
    "csv": table(TWO),
    "tsv": table(TWO, "\t"),
    "semicolons": table(TWO, ";"),
    "parquet": parquet(TWO),
}
PACKERS = {
    "": bytes,
    ".gz": gzipped,
    ".zst": zstd,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
