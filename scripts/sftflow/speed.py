"""The report's view of latency: the fit ``b + k * x`` of each model and its grid.

b is the time to the first token, k the time per further token, x the number of tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow import plots
from sftflow.lineage import flat_settings
from sftflow.measured import read_object

FIT_POINTS = 25

Latency = Mapping[str, Any]


def latencies(results: Path, models: Sequence[Mapping[str, Any]]) -> dict[str, Latency]:
    """Return latency.json of each model that has one."""
    paths = {m["name"]: results / "eval" / m["name"] / "latency.json" for m in models}
    return {name: read_object(path) for name, path in paths.items() if path.exists()}


def speed_section(
    measured: Mapping[str, Latency],
    models: Sequence[Mapping[str, Any]],
    lengths: Mapping[str, float | None],
) -> tuple[dict[str, Any], dict[str, dict]]:
    """Return what the page says about speed, and its plots by id.

    ``lengths`` holds the mean number of tokens of each model's own answers, if known.
    """
    colors = {n: c for n, c in plots.model_colors(models).items() if n in measured}
    kinds = {m["name"]: m["kind"] for m in models}
    cells = [
        {"model": name, "kind": kinds[name], **cell}
        for name, one in measured.items()
        for cell in one["cells"]
    ]
    fits = [
        {"model": name, "kind": kinds[name], **_terms(fit)}
        for name, one in measured.items()
        for fit in one["fits"]
    ]
    drawn, captions = _grid_plots(cells, colors)
    lowest = min((fit["concurrency"] for fit in fits), default=None)
    alone = [fit for fit in fits if fit["concurrency"] == lowest]
    lines, medians = _lines(alone, cells), _medians(cells, lowest)
    if lines:
        drawn["plot-answer-time"] = plots.answer_time(lines, medians, colors)
    section = {
        "models": list(colors),
        "cells": cells,
        "fits": fits,
        "plots": captions,
        "fit_plot": "plot-answer-time" if lines else None,
        "fit_scope": at_once(lowest) if lines else "",
        "setup": setups(measured),
        "own_lengths": own_lengths(alone, models, lengths),
        "warnings": [f"{n}: {text}." for n, one in measured.items() for text in one["warnings"]],
    }
    return section, drawn


def _grid_plots(
    cells: Sequence[Mapping[str, Any]], colors: Mapping[str, str]
) -> tuple[dict[str, dict], list[tuple[str, str]]]:
    """Return a plot per time and concurrency, by id, and their captions."""
    drawn, captions = {}, []
    for time, name in (("ttft_ms", "Time to first token"), ("tpot_ms", "Time per further token")):
        for concurrency in sorted({c["concurrency"] for c in cells}):
            points = _by_prompt(cells, time, concurrency)
            if points:
                id_ = f"plot-{time.replace('_', '-')}-{concurrency}"
                drawn[id_] = plots.latency_lines(points, colors, "ms")
                captions.append((id_, f"{name}, {at_once(concurrency)}"))
    return drawn, captions


def at_once(concurrency: int) -> str:
    """Say how many requests were under way."""
    return "one request at a time" if concurrency == 1 else f"{concurrency} requests at once"


def setups(measured: Mapping[str, Latency]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return settings and hardware per model, or once for all where they are the same."""
    said = {name: flat_settings(one["setup"]) for name, one in measured.items()}
    common = [
        pair for pair in next(iter(said.values()), []) if all(pair in s for s in said.values())
    ]
    own = [(name, [pair for pair in pairs if pair not in common]) for name, pairs in said.items()]
    return [(name, pairs) for name, pairs in [("all models", common), *own] if pairs]


def _terms(fit: Mapping[str, Any]) -> dict[str, Any]:
    answer = fit["answer"]
    return {
        "concurrency": fit["concurrency"],
        "b": answer["b_ms"],
        "k": answer["k_ms_per_token"],
        "c": fit["first_token"]["c_ms_per_token"],
        "r_squared": answer["r_squared"],
        "n": answer["n"],
    }


def own_lengths(
    fits: Sequence[Mapping[str, Any]],
    models: Sequence[Mapping[str, Any]],
    lengths: Mapping[str, float | None],
) -> list[dict[str, Any]]:
    """Return each model's time for an answer of its own mean length, and why it changed.

    t = b + k x, so t1 - t0 = (b1 - b0) + (k1 - k0) x0 + k1 (x1 - x0): the last part is due to
    longer answers, the first two to the model. ``lengths`` holds x, the mean number of tokens
    of each model's own answers. 0 is the model that 1 starts from.
    """
    known = {
        f["model"]: (f["b"]["value"], f["k"]["value"], lengths[f["model"]])
        for f in fits
        if f["b"]["value"] is not None and lengths.get(f["model"]) is not None
    }
    rows = []
    for model in models:
        if model["name"] not in known:
            continue
        b1, k1, x1 = known[model["name"]]
        row = {"model": model["name"], "tokens": x1, "ms": b1 + k1 * x1}
        changes: dict[str, float | None] = dict.fromkeys(("by_length", "by_speed", "change"))
        if model["base"] in known:
            b0, k0, x0 = known[model["base"]]
            changes["by_length"] = k1 * (x1 - x0)
            changes["by_speed"] = (b1 - b0) + (k1 - k0) * x0
            changes["change"] = changes["by_length"] + changes["by_speed"]
        rows.append({**row, **changes})
    return rows


def _by_prompt(
    cells: Iterable[Mapping[str, Any]], time: str, concurrency: int
) -> list[dict[str, Any]]:
    """Return one point per model and prompt length: the mean over output lengths."""
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for cell in cells:
        if cell["concurrency"] == concurrency and cell[time]["p50"] is not None:
            groups.setdefault((cell["model"], cell["kind"], cell["prompt_tokens"]), []).append(
                cell[time]
            )
    return [
        {
            "model": model,
            "kind": kind,
            "prompt_tokens": prompt,
            **{q: sum(t[q] for t in times) / len(times) for q in ("p50", "p95")},
        }
        for (model, kind, prompt), times in groups.items()
    ]


def _medians(cells: Sequence[Mapping[str, Any]], lowest: int | None) -> list[dict[str, Any]]:
    """Return the median time of each cell at the lowest concurrency."""
    return [
        {
            "model": c["model"],
            "kind": c["kind"],
            "prompt_tokens": c["prompt_tokens"],
            "tokens": c["output_tokens"],
            "ms": c["e2e_ms"]["p50"],
        }
        for c in cells
        if c["concurrency"] == lowest and c["e2e_ms"]["p50"] is not None
    ]


def _lines(
    fits: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return points of each fitted line, with the interval that b's and k's bounds span.

    The bounds of b and k are taken together, which is wider than the interval of the line
    itself: their errors are correlated, and by how much is not kept.
    """
    longest = max((c["output_tokens"] for c in cells), default=1)
    points = []
    for fit in fits:
        b, k = fit["b"], fit["k"]
        if b["value"] is None or k["value"] is None:
            continue
        bounded = None not in (b["low"], b["high"], k["low"], k["high"])
        for i in range(FIT_POINTS):
            x = longest * i / (FIT_POINTS - 1)
            middle = b["value"] + k["value"] * x
            low = b["low"] + k["low"] * x if bounded else middle
            high = b["high"] + k["high"] * x if bounded else middle
            points.append(
                {
                    "model": fit["model"],
                    "kind": fit["kind"],
                    "tokens": x,
                    "ms": middle,
                    "low": low,
                    "high": high,
                }
            )
    return points
