"""Verdicts of a judge that were paid for, kept outside of any job's outputs.

One SQLite file per results folder, `results/.cache/verdicts.sqlite`. A verdict is committed before
it is used, so whatever ends a run, nothing is asked twice. Deleting the file costs only money.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftflow.manifests import canonical_json

PLACE = Path("results/.cache/verdicts.sqlite")
WAIT_S = 60  # for another job that writes


@dataclass(frozen=True)
class Verdict:
    """What a judge said about one text; ``score`` is None if its reply held none."""

    score: float | None
    reply: str
    prompt_tokens: int
    completion_tokens: int


def verdict_key(model: str, rubric: str, request: dict[str, Any], text: str) -> str:
    """Return the name of a verdict: a digest of all that decides it."""
    said = canonical_json([model, rubric, request, text])
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


class VerdictCache:
    """Verdicts by key, for several threads."""

    def __init__(self, path: Path) -> None:
        """Open the file, made if need be."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = sqlite3.connect(
            path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
        )
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, score REAL, "
            "reply TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, "
            "completion_tokens INTEGER NOT NULL) WITHOUT ROWID"
        )

    def get(self, key: str) -> Verdict | None:
        """Return the verdict of ``key``, None if it was never given."""
        asked = "SELECT score, reply, prompt_tokens, completion_tokens FROM verdicts WHERE key = ?"
        with self._lock:
            row = self._file.execute(asked, (key,)).fetchone()
        return Verdict(*row) if row else None

    def put(self, key: str, verdict: Verdict) -> None:
        """Keep a verdict; of two for one key the first stays."""
        kept = (key, verdict.score, verdict.reply)
        tokens = (verdict.prompt_tokens, verdict.completion_tokens)
        with self._lock:
            self._file.execute(
                "INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?, ?)", kept + tokens
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
