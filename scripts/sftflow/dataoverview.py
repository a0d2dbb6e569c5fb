"""The main report's part about data: each dataset's funnel, and the figures of its own page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow import lineage, plots
from sftflow.figures import count, figure, percent
from sftflow.portrait import read_portrait
from sftflow.tokencounts import token_facts, what_is_cut

MOST = 5  # values named of each figure


def data_section(
    results: Path, spec: Mapping[str, Any], known: lineage.Manifests
) -> tuple[list[dict[str, Any]], dict[str, dict]]:
    """Return what the page says of each dataset, and its plots by id."""
    said, drawn = [], {}
    for number, funnel in enumerate(lineage.funnels(spec, known), start=1):
        name = funnel["name"]
        shown = []
        for facts in token_counts(name, known):
            id_ = f"plot-tokens-{number}-{len(shown) + 1}"
            drawn[id_] = plots.token_lengths(facts["bins"], facts["max_length"])
            shown.append((id_, f"{facts['base']}: {what_is_cut(facts)}"))
        path = results / "datasets" / name / "portrait.json"
        figures = portrait_lines(read_portrait(path)) if path.exists() else []
        said.append({**funnel, "token_plots": shown, "portrait": figures})
    return said, drawn


def token_counts(dataset: str, known: lineage.Manifests) -> list[dict[str, Any]]:
    """Return the token counts of each templated form of a dataset that has samples."""
    manifests = [said for folder, said in known.items() if folder.startswith("templated/")]
    facts = [token_facts(m) for m in manifests if m["settings"]["dataset"] == dataset]
    return [one for one in facts if one["rows"]]


def portrait_lines(portrait: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the figures of a portrait as (name, text)."""
    names = (("prompt_chars", "prompt length (characters)"), ("answer_chars", "answer length"))
    lines = []
    for key, label in (*names, ("turns", "answers per row")):
        length = portrait["lengths"][key]
        points = [f"{part} {count(length[key_])}" for key_, part in POINTS]
        lines.append((label, ", ".join(points)))
    languages = portrait["languages"]["prompts"]
    lines.append(("languages of the prompts", _shares(languages, portrait["looked_into"])))
    if tags := portrait["columns"].get("tags"):
        lines.append(("tags", _shares(tags, portrait["rows"])))
    said = portrait["openings"]
    words = [[w["word"], w["texts"]] for w in said["words"]]
    lines.append(("prompts begin with", _shares(words, said["texts"])))
    for side, rows in portrait["distinct"].items():
        shares = " / ".join(figure(row["distinct"]) for row in rows)
        lines.append((f"distinct-1 / 2 / 3 of the {side}", shares))
    drift = portrait.get("drift")
    if drift:
        moved = [line["label"] for line in drift["lines"] if line["moved"]]
        lines.append((f"moved against {drift['against']}", ", ".join(moved) or "nothing"))
    return lines


POINTS = (("median", "median"), ("p95", "95 %"), ("max", "most"))


def _shares(rows: Sequence[Sequence[Any]], total: int) -> str:
    named = [(value, n) for value, n in rows if value is not None][:MOST]
    return ", ".join(f"{value or '(none)'} {percent(n / total)}" for value, n in named) or "–"
