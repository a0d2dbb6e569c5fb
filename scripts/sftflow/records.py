"""The one schema of a conversation from ingestion on, and of a row that was refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sftflow.manifests import canonical_json, replacing

BATCH_CHARS = 1 << 26  # text in memory at most before it is written
ROLES = ("system", "user", "assistant", "tool")

# tool_calls and tools are JSON text: their schema differs from row to row, which Arrow
# would answer with one struct of all keys ever seen, every absent one filled with null.
MESSAGE = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("reasoning", pa.string()),  # thinking, kept apart from the answer; null if none
        ("tool_calls", pa.string()),  # JSON list of {name, arguments}; null if none
        ("weight", pa.float32()),  # loss weight of this message; null means the default
    ]
)
RECORD = pa.schema(
    [
        ("id", pa.string()),  # content_id, unique within a dataset
        ("source", pa.string()),
        ("file", pa.string()),  # name within the source; null if made otherwise
        ("row", pa.int64()),  # 1-based in the file: line (JSONL) or record (other formats)
        ("messages", pa.list_(MESSAGE)),
        ("tools", pa.string()),  # JSON list of tool schemas; null if none
        ("group", pa.string()),  # rows of one group stay on one side of a split; null if none
        ("tags", pa.list_(pa.string())),  # what the row is about; null if nothing says it
    ]
)
PAIR = pa.schema([*RECORD, pa.field("rejected", MESSAGE)])  # the answer that is not preferred
REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("stage", pa.string()),  # the rule that refused it
        ("step", pa.string()),  # the cleaning step, or null
        ("reason", pa.string()),  # a short code, one per kind of fault
        ("detail", pa.string()),  # a sentence for a person
        ("raw", pa.string()),  # the row as it came (JSON or text), to look at or to mend
    ]
)


def message(role: str, content: str, **more: Any) -> dict[str, Any]:
    """Return one message with every field of ``MESSAGE``."""
    return {
        "role": role,
        "content": content,
        "reasoning": None,
        "tool_calls": None,
        "weight": None,
        **more,
    }


def content_id(record: Mapping[str, Any]) -> str:
    """Return 16 hex digits of what a record says: messages and tools, not its place."""
    said = [record["messages"], record.get("tools"), *_other_answer(record).values()]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def raw_text(record: Mapping[str, Any]) -> str:
    """Return a record as the column ``raw`` of REJECTED has it: what it says, and its labels."""
    marks = {key: record[key] for key in ("group", "tags") if record.get(key)}
    said = {"messages": record["messages"], "tools": record["tools"], **_other_answer(record)}
    return canonical_json({**said, **marks})


def _other_answer(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer of a pair that is not preferred, by its name; nothing of other records."""
    return {"rejected": record["rejected"]} if record.get("rejected") else {}


def record_schema(path: Path | str) -> pa.Schema:
    """Return RECORD, or PAIR if the table at ``path`` holds preference pairs."""
    return PAIR if "rejected" in pq.read_schema(path).names else RECORD


def _text_chars(row: Mapping[str, Any]) -> int:
    """Return how much text a row holds, so that a batch of long rows stays small."""
    said = sum(len(m["content"] or "") for m in row.get("messages") or ())
    return said + len(row.get("raw") or "") + len((row.get("rejected") or {}).get("content") or "")


class TableWriter:
    """Streams rows to a Parquet file, one batch in memory; for several files side by side."""

    def __init__(self, path: Path | str, schema: pa.Schema, batch_rows: int = 4096) -> None:
        """Open ``path`` (see ``open_table`` for a file that is whole or not there)."""
        self.schema, self.batch_rows, self.count = schema, batch_rows, 0
        self._chars = 0
        # No writer version, so that the bytes rest on the rows and the pyarrow in the manifest.
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._batch: list[Mapping[str, Any]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        self._batch.append(row)
        self.count += 1
        self._chars += _text_chars(row)
        if len(self._batch) >= self.batch_rows or self._chars >= BATCH_CHARS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._batch, schema=self.schema))
        self._batch, self._chars = [], 0

    def close(self) -> None:
        """Write what is left and the footer."""
        if self._batch or not self.count:
            self._flush()
        self._writer.close()


@contextmanager
def open_table(
    path: Path | str, schema: pa.Schema, batch_rows: int = 4096
) -> Iterator[TableWriter]:
    """Yield a ``TableWriter``; ``path`` appears, whole, only if the block ends without error."""
    with replacing(path) as part:
        writer = TableWriter(part, schema, batch_rows)
        try:
            yield writer
        except BaseException:
            writer._writer.close()
            raise
        writer.close()


def write_table(
    path: Path | str, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, batch_rows: int = 4096
) -> int:
    """Stream ``rows`` to a Parquet file, whole or not at all; return how many there were."""
    with open_table(path, schema, batch_rows) as table:
        for row in rows:
            table.add(row)
    return table.count


def read_rows(
    path: Path | str, columns: list[str] | None = None, batch_rows: int = 4096
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file one by one, holding one batch in memory."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=batch_rows, columns=columns):
            yield from batch.to_pylist()
