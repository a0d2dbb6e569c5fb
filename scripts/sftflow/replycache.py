"""Replies of generators and judges that were paid for, kept outside of any job's outputs.

One SQLite file per results folder, `results/.cache/replies.sqlite`. A reply is committed before
it is used, so whatever ends a run, nothing is paid twice. Deleting the file costs only money.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftflow.manifests import canonical_json

PLACE = Path("results/.cache/replies.sqlite")
WAIT_S = 60  # for another job that writes
UNASKABLE = "unaskable"  # finish_reason of what stands for a reply where there can't be one


@dataclass(frozen=True)
class Reply:
    """What was said to one request; ``digest`` names the request."""

    digest: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


def request_digest(backend: str, body: dict[str, Any], draw: int) -> str:
    """Return 32 hex digits of all that decides a reply.

    ``backend`` is the identity of who replies (backends.py): an address, or a digest of a model.
    ``draw`` parts requests that say the same and want another reply each.
    """
    said = canonical_json([backend, body, draw])
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class ReplyCache:
    """Replies by the digest of their request, for several threads."""

    def __init__(self, path: Path) -> None:
        """Open the file, made if need be."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = sqlite3.connect(
            path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
        )
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS replies (digest TEXT PRIMARY KEY, text TEXT NOT NULL, "
            "finish_reason TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, "
            "completion_tokens INTEGER NOT NULL, payer TEXT NOT NULL) WITHOUT ROWID"
        )

    def get(self, digest: str) -> Reply | None:
        """Return the reply to a request, None if there never was one."""
        with self._lock:
            row = self._file.execute(
                "SELECT digest, text, finish_reason, prompt_tokens, completion_tokens "
                "FROM replies WHERE digest = ?",
                (digest,),
            ).fetchone()
        return Reply(*row) if row else None

    def put(self, reply: Reply, payer: str) -> None:
        """Keep a reply that ``payer`` asked for; of two to one request the first."""
        said = (reply.digest, reply.text, reply.finish_reason)
        kept = (*said, reply.prompt_tokens, reply.completion_tokens, payer)
        with self._lock:
            self._file.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?)", kept)

    def paid_by(self, payer: str) -> tuple[int, int]:
        """Return the tokens of prompts and of replies that a payer has ever paid."""
        with self._lock:
            return self._file.execute(
                "SELECT coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0) "
                "FROM replies WHERE payer = ?",
                (payer,),
            ).fetchone()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
