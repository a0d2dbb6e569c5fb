"""What every cleaning step works with: its books, and ways to read and change a record's texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sftflow.manifests import canonical_json
from sftflow.stage import StageError

Record = dict[str, Any]
Records = Iterator[Record]
# Options of a judge that bound its requests, and say where its key is: no row rests on them.
REQUEST_BOUNDS = ("api_key_env", "concurrency", "max_retries", "timeout_s")
MOST_PLACES = 3
MOST_KINDS = 200  # a million made-up tokens must not fill the manifest


class Step:
    """The books of one step: what came in, stayed, changed and went."""

    def __init__(
        self, name: str, folder: Path, refuse: Callable[[str, Record, str, str], None]
    ) -> None:
        """Hand rejected records to ``refuse``; ``folder`` has room for a temporary file."""
        self.name, self.folder, self._refuse = name, folder, refuse
        self.rows_in = self.rows_out = self.changed = 0
        self.rejected: Counter[str] = Counter()
        self.found: dict[str, dict[str, Any]] = {}
        self.totals: Counter[str] = Counter()  # what else a step adds up: tokens of a judge
        self.packages: set[str] = set()  # distributions whose versions shape what comes out
        self.facts: dict[str, Any] = {}  # what else the manifest says: the digest of a model

    def reject(self, record: Record, reason: str, detail: str) -> None:
        """Let ``record`` go, for a reason (a short code) said in a sentence (``detail``)."""
        self.rejected[reason] += 1
        self._refuse(self.name, record, reason, detail)

    def note(self, record: Record, kinds: Mapping[str, int]) -> None:
        """Count what was found in ``record``, kind -> times; the first places are named."""
        for kind, times in kinds.items():
            if kind not in self.found and len(self.found) >= MOST_KINDS:
                kind = "other"
            entry = self.found.setdefault(kind, {"rows": 0, "times": 0, "first": []})
            entry["rows"] += 1
            entry["times"] += times
            if len(entry["first"]) < MOST_PLACES:
                entry["first"].append(f"{record['source']} {record['file']}:{record['row']}")

    def counts(self) -> dict[str, Any]:
        """Return the counts for a manifest."""
        counts = {
            "step": self.name,
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "changed": self.changed,
            "rejected": dict(sorted(self.rejected.items())),
        }
        if self.found:
            counts["found"] = dict(sorted(self.found.items()))
        if self.totals:
            counts["totals"] = dict(sorted(self.totals.items()))
        return {**counts, **self.facts}


def one_of(step: Step, option: str, value: str, known: Iterable[str]) -> None:
    """Raise StageError unless ``value`` is one that the option knows."""
    if value not in known:
        raise StageError(f"{step.name}: {option} is {value!r}; expected one of {', '.join(known)}")


def rewritten(records: Records, step: Step, rewrite: Callable[[str], str]) -> Records:
    """Yield records whose texts went through ``rewrite``; reject those that it left blank."""
    for record in records:
        messages = [
            {**m, "content": rewrite(m["content"]), "reasoning": _maybe(rewrite, m["reasoning"])}
            for m in record["messages"]
        ]
        blank = next((m for m in messages if _is_blank(m)), None)
        if blank:
            step.reject(
                record, f"blank_{blank['role']}", f"nothing is left of {blank['role']} text"
            )
            continue
        if messages != record["messages"]:
            step.changed += 1
            record = {**record, "messages": messages}
        yield record


def _maybe(rewrite: Callable[[str], str], text: str | None) -> str | None:
    return None if text is None else rewrite(text) or None


def _is_blank(message: Mapping[str, Any]) -> bool:
    spoken = message["role"] != "tool" and not message["tool_calls"]
    return spoken and not message["content"].strip()


def with_every_text(record: Record, change: Callable[[str], str]) -> Record:
    """Return ``record`` with each text through ``change``, those inside tool JSON too.

    Keys and numbers of tool calls and schemas stay. The same object comes back if nothing changed.
    """
    messages = [
        {
            **m,
            "content": change(m["content"]),
            "reasoning": m["reasoning"] and change(m["reasoning"]),
            "tool_calls": _in_json(m["tool_calls"], change),
        }
        for m in record["messages"]
    ]
    tools = _in_json(record["tools"], change)
    if messages == record["messages"] and tools == record["tools"]:
        return record
    return {**record, "messages": messages, "tools": tools}


def _in_json(text: str | None, change: Callable[[str], str]) -> str | None:
    if text is None:
        return None
    value = json.loads(text)
    changed = _in_strings(value, change)
    return text if changed == value else canonical_json(changed)


def _in_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_in_strings(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _in_strings(item, change) for key, item in value.items()}
    return value


def with_answers(record: Record, change: Callable[[str], str]) -> Record:
    """Return ``record`` with each assistant text through ``change``; the same if none changed."""
    messages = [
        {**m, "content": change(m["content"])} if m["role"] == "assistant" else m
        for m in record["messages"]
    ]
    if messages == record["messages"]:
        return record
    return {**record, "messages": messages}


def texts_of(record: Record, roles: Iterable[str]) -> list[str]:
    """Return what messages of these roles say, without the blank ones."""
    said = [m["content"] for m in record["messages"] if m["role"] in roles]
    return [text for text in said if text.strip()]
