"""The stage that reads a source, run on a file with given bytes."""

import json

import ingest_source
from sftflow.records import read_rows

GOOD = {"instruction": "Say hi.", "input": "", "output": "Hi!"}
DEFAULTS = {
    "source": "raw",
    "format": "auto",
    "columns": None,
    "system": None,
    "encoding": "utf-8",
    "delimiter": None,
    "json_path": None,
    "max_row_bytes": 1 << 20,
    "max_rejected_fraction": 0.5,
    "consecutive": "quarantine",
}


def ingest(tmp_path, data, name="raw.jsonl", **more):
    """Run the stage on a file with these bytes; return (records, rejected, manifest)."""
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    out = tmp_path / "out"
    spec = {**DEFAULTS, "path": str(tmp_path / name), **more}
    argv = ["--spec", json.dumps(spec)]
    for key in ("records", "rejected"):
        argv += [f"--{key}", str(out / f"{key}.parquet")]
    ingest_source.main([*argv, "--manifest", str(out / "manifest.json")])
    manifest = json.loads((out / "manifest.json").read_text())
    counts = manifest["counts"]
    records, rejected = ([*read_rows(out / f"{k}.parquet")] for k in ("records", "rejected"))
    assert counts["rows_in"] == counts["kept"] + sum(counts["rejected"].values())
    assert (counts["kept"], sum(counts["rejected"].values())) == (len(records), len(rejected))
    return records, rejected, manifest


def lines(*rows):
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
