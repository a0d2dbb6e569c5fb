"""The page's comparison of tuned models with in-context learning of their base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.answers import read_jsonl
from sftflow.comparison import compare, tally
from sftflow.summary import Measurement


def in_context_section(
    results: Path, spec: Mapping[str, Any], summary: Sequence[Measurement]
) -> list[dict[str, Any]]:
    """Return, per base with examples and tuned model that starts from it, their scores compared."""
    rows: dict[str, list[Measurement]] = {}
    for row in summary:
        if row.group == "scores":
            rows.setdefault(row.model, []).append(row)
    said = []
    for entry in spec["in_context"]:
        plain = {row.metric: row for row in rows.get(entry["base"], [])}
        for model in spec["models"]:
            if model["base"] != entry["base"] or entry["name"] not in rows:
                continue
            known = {row.metric for row in rows[entry["name"]]}
            tuned = [row for row in rows.get(model["name"], []) if row.metric in known]
            compared = compare(rows[entry["name"]], tuned)
            said.append(
                {
                    "model": model["name"],
                    "name": entry["name"],
                    "base": entry["base"],
                    "examples": entry["examples"],
                    "rows": [(c, plain.get(c.metric)) for c in compared],
                    "tally": tally(compared),
                    "cut": short_of_room(results, entry),
                }
            )
    return said


def in_context_findings(said: Sequence[Mapping[str, Any]], model: str) -> list[dict[str, str]]:
    """Return a line of the first screen where examples in a prompt did better than the tuning."""
    return [
        {
            "verdict": "worse",
            "text": f"Better on {one['tally']['worse']} measures without any training: "
            f"{one['base']} with {one['examples']} examples in the prompt.",
        }
        for one in said
        if one["model"] == model and one["tally"]["worse"]
    ]


def short_of_room(results: Path, entry: Mapping[str, Any]) -> str | None:
    """Say how many prompts had room for fewer examples than asked for; None if all had."""
    path = results / "eval" / entry["name"] / "generations.jsonl"
    shown = [len(row["examples"]) for row in read_jsonl(path)] if path.exists() else []
    fewer = sum(count < entry["examples"] for count in shown)
    if not fewer:
        return None
    return f"{fewer:,} of {len(shown):,} prompts had room for fewer examples."
