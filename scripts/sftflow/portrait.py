"""The figures of a dataset, small enough to be kept: portrait.json.

It is what the pages draw, and what a later version of the dataset is compared with.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftflow.diversity import Ngrams, Openings, ranked
from sftflow.lengths import summary
from sftflow.prompts import key_of
from sftflow.stage import StageError
from sftflow.writing import LOOKED_AT, language, main_script

SCHEMA = 1
KEYS = {"rows", "lengths", "sources", "scripts", "languages", "distinct", "openings", "columns"}
# Languages, n-grams and openings are those of so many rows: half a minute and 50 MB, not more.
LOOKED_INTO = 10_000
# Names of groups may be those of people: how many there are stands on the page.
KNOWN_COLUMNS = {"id", "source", "file", "row", "messages", "tools", "group"}
LISTED = 30  # values kept of a column, a language, a source
COLUMN_VALUES = 10_000  # a column with more is no label


class Portrait:
    """Figures of many records, gathered one by one: memory follows what differs, not the rows."""

    def __init__(self, rows: int) -> None:
        """Start without a record; about ``LOOKED_INTO`` of the ``rows`` to come are looked into."""
        self.rows = self.looked_into = 0
        self._share = LOOKED_INTO / max(rows, 1)
        names = ("prompt_chars", "answer_chars", "turns")
        self.lengths: dict[str, Counter[int]] = {name: Counter() for name in names}
        self.counted: dict[str, Counter[str]] = {name: Counter() for name in ("sources", "scripts")}
        self.languages = {"prompts": Counter(), "answers": Counter()}
        self.ngrams = {"prompts": Ngrams(), "answers": Ngrams()}
        self.openings = Openings()
        self.columns: dict[str, Counter[str]] = {}
        self.with_system = self.with_tools = self.with_reasoning = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in one record."""
        said = record["messages"]
        prompts = [m["content"] or "" for m in said if m["role"] == "user"]
        spoken = [m for m in said if m["role"] == "assistant"]
        answers = [m["content"] or "" for m in spoken]
        self.rows += 1
        self.lengths["prompt_chars"][sum(map(len, prompts))] += 1
        self.lengths["answer_chars"].update(
            len(m["content"] or "") + len(m["tool_calls"] or "") for m in spoken
        )
        self.lengths["turns"][len(answers)] += 1
        self.counted["sources"][record["source"]] += 1
        self.with_system += said[0]["role"] == "system"
        self.with_tools += bool(record["tools"])
        self.with_reasoning += any(m["reasoning"] for m in said)
        for name in record.keys() - KNOWN_COLUMNS:
            self._label(name, record[name])
        # By a hash of the id, so that it is the same rows in whatever order they come.
        if key_of(record["id"]) < self._share * 2**64:
            self._look_into(prompts, answers)

    def _label(self, name: str, value: Any) -> None:
        """Count the value, or each of the values, of a column that a source brought along."""
        counts = self.columns.setdefault(name, Counter())
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | int | bool) and len(counts) < COLUMN_VALUES:
                counts[str(one)[:80]] += 1

    def _look_into(self, prompts: list[str], answers: list[str]) -> None:
        self.looked_into += 1
        prompt, answer = " ".join(prompts), " ".join(answers)
        self.counted["scripts"][main_script(prompt[:LOOKED_AT])] += 1
        self.languages["prompts"][language(prompt)] += 1
        self.languages["answers"][language(answer)] += 1
        self.ngrams["prompts"].add(prompt)
        self.ngrams["answers"].add(answer)
        self.openings.add(prompts[0] if prompts else "")

    def figures(self, dataset: str) -> dict[str, Any]:
        """Return the figures, fit for JSON."""
        return {
            "schema": SCHEMA,
            "dataset": dataset,
            "rows": self.rows,
            "looked_into": self.looked_into,
            "lengths": {name: summary(counts) for name, counts in self.lengths.items()},
            "sources": _listed(self.counted["sources"]),
            "scripts": _listed(self.counted["scripts"]),
            "languages": {side: _listed(counts) for side, counts in self.languages.items()},
            "distinct": {side: ngrams.figures() for side, ngrams in self.ngrams.items()},
            "openings": self.openings.figures(),
            "columns": {
                name: _listed(counts)
                for name, counts in sorted(self.columns.items())
                if 0 < len(counts) < COLUMN_VALUES
            },
            "with_system": self.with_system,
            "with_tools": self.with_tools,
            "with_reasoning": self.with_reasoning,
        }


def _listed(counts: Counter[str]) -> list[list[Any]]:
    """Return [value, rows], the most frequent first; what is beyond ``LISTED`` as [null, rows]."""
    order = [list(pair) for pair in ranked(counts)]
    beyond = sum(rows for _, rows in order[LISTED:])
    return order[:LISTED] + ([[None, beyond]] if beyond else [])


def read_portrait(path: Path) -> dict[str, Any]:
    """Return a portrait; raise StageError naming the file if it is none."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StageError(f"{path} is no readable portrait of a dataset: {error}") from None
    if not isinstance(said, dict) or said.get("schema") != SCHEMA or not said.keys() >= KEYS:
        raise StageError(
            f"{path} is not a portrait of schema {SCHEMA}; take the portrait.json that "
            "report_dataset leaves beside report.html"
        )
    return said
