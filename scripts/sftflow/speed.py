"""The report's view of latency: the fit ``b + k * x`` of each model, its grid and its rates.

k is the time per token, b + k the time to the first one, x the number of tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow import modelcolors, plots, speedplots
from sftflow.goodput import model_goodput
from sftflow.lineage import flat_settings
from sftflow.measured import read_object
from sftflow.slowdown import line_error, own_lengths

FIT_POINTS = 25
#: Of more models than this, only the best are told in sentences, and long lists are folded.
MOST_TOLD = 3
#: Rows of a table that is not folded.
MOST_ROWS = 16

Latency = Mapping[str, Any]


def latencies(results: Path, models: Sequence[Mapping[str, Any]]) -> dict[str, Latency]:
    """Return latency.json of each model that has one."""
    paths = {m["name"]: results / "eval" / m["name"] / "latency.json" for m in models}
    return {name: read_object(path) for name, path in paths.items() if path.exists()}


def goodputs(
    results: Path, measured: Mapping[str, Latency], slo: Mapping[str, Any]
) -> dict[str, Mapping[str, Any]]:
    """Return the goodput of each model's cells and rates; {} where no limit is set."""
    found = {
        name: model_goodput(results / "eval" / name, one, slo) for name, one in measured.items()
    }
    return {name: one for name, one in found.items() if one is not None}


def speed_section(
    measured: Mapping[str, Latency],
    models: Sequence[Mapping[str, Any]],
    lengths: Mapping[str, float | None],
    good: Mapping[str, Mapping[str, Any]],
    ranked: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, dict]]:
    """Return what the page says about speed, and its plots by id.

    ``lengths`` holds the mean number of tokens of each model's own answers, if known; ``good`` is
    what ``goodputs`` returns; ``ranked`` are the tuned models, the best first.
    """
    colors = {n: c for n, c in modelcolors.model_colors(models).items() if n in measured}
    colors = modelcolors.told_apart(colors, ranked)
    kinds = {m["name"]: m["kind"] for m in models}
    cells, rates = (_points(measured, kinds, good, part) for part in ("cells", "rates"))
    fits = [
        {"model": name, "kind": kinds[name], **_terms(fit)}
        for name, one in measured.items()
        for fit in one["fits"]
    ]
    drawn, captions = _grid_plots(cells, colors)
    over_rates, rate_captions = _rate_plots(rates, colors)
    lowest = min((fit["concurrency"] for fit in fits), default=None)
    alone = [fit for fit in fits if fit["concurrency"] == lowest]
    lines, medians = _lines(alone, cells), _medians(cells, lowest)
    if lines:
        drawn["plot-answer-time"] = plots.answer_time(lines, medians, colors)
    apart = [row for name, one in measured.items() for row in _residuals(name, one["fits"])]
    if apart:
        drawn["plot-residuals"] = speedplots.residuals(apart, colors)
    section = {
        "key": modelcolors.color_key(colors),
        "told": ranked[:MOST_TOLD] if len(ranked) > MOST_TOLD else list(colors),
        "most_rows": MOST_ROWS,
        "cells": cells,
        "rates": rates,
        "rate_plots": rate_captions,
        "residual_plot": "plot-residuals" if apart else None,
        "by_prompt": [
            {"model": name, "concurrency": fit["concurrency"], **line}
            for name, one in measured.items()
            for fit in one["fits"]
            for line in fit["by_prompt"]
        ],
        "limits": next(iter(good.values()))["limits"] if good else {},
        "highest_rates": [(n, g["highest_rate_per_s"]) for n, g in good.items() if g["rates"]],
        "servers": [_server(name, one) for name, one in measured.items()],
        "fits": fits,
        "plots": captions,
        "fit_plot": "plot-answer-time" if lines else None,
        "fit_scope": at_once(lowest) if lines else "",
        "setup": setups(measured),
        "own_lengths": own_lengths(alone, models, lengths),
        "merged": any(m["kind"] == "tuned" and "form" not in m for m in models),
        "warnings": _warnings(measured),
    }
    return section, {**drawn, **over_rates}


def _warnings(measured: Mapping[str, Latency]) -> list[str]:
    """Return what is to be said of the measurements; the same of several models is said once."""
    of: dict[str, list[str]] = {}
    for name, one in measured.items():
        for text in one["warnings"]:
            of.setdefault(text, []).append(name)
    return [
        f"{', '.join(names) if len(names) <= MOST_TOLD else f'{len(names)} models'}: {text}."
        for text, names in of.items()
    ]


def _points(
    measured: Mapping[str, Latency],
    kinds: Mapping[str, str],
    good: Mapping[str, Mapping[str, Any]],
    part: str,
) -> list[dict[str, Any]]:
    """Return every model's cells or rates, with their goodput where there are limits."""
    return [
        {"model": name, "kind": kinds[name], **point}
        | {"good": good[name][part][i] if name in good else None}
        for name, one in measured.items()
        for i, point in enumerate(one[part])
    ]


def _server(name: str, latency: Latency) -> dict[str, Any]:
    """Return what one server took, whether it had a prefix cache, and how it was warmed up."""
    return {
        "model": name,
        **latency["footprint"],
        "prefix_caching": latency["setup"]["server"].get("prefix_caching"),
        "warmup": latency["warmup"],
        "client": latency["client"],
    }


def _residuals(name: str, fits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return how far each cell lies from its plane, in % of the plane, with its error."""
    rows = []
    for fit in fits:
        for one in fit["plane"]["residuals"]:
            unit = one["fitted_ms"] / 100
            share, error = one["residual_ms"] / unit, 2 * (one["stderr_ms"] or 0.0) / unit
            place = {key: one[key] for key in ("prompt_tokens", "output_tokens", "fitted_ms")}
            bounds = {"share": share, "low": share - error, "high": share + error}
            rows.append({"model": name, "concurrency": fit["concurrency"], **place, **bounds})
    return rows


def _rate_plots(
    rates: Sequence[Mapping[str, Any]], colors: Mapping[str, str]
) -> tuple[dict[str, dict], list[tuple[str, str]]]:
    """Return a plot per time over the arrival rate, by id, and their captions."""
    drawn, captions = {}, []
    for time, name in (("ttft_ms", "Time to first token"), ("tpot_ms", "Time per further token")):
        points = [
            {**{key: r[key] for key in ("model", "kind", "rate_per_s")}, **r[time]}
            for r in rates
            if r[time]["p50"] is not None
        ]
        if points:
            id_ = f"plot-{time.replace('_', '-')}-rates"
            drawn[id_] = plots.latency_lines(points, colors, "ms", over="rate_per_s")
            captions.append((id_, f"{name}, requests arriving at random"))
    return drawn, captions


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
        "covariance": answer["covariance"],
        "r_squared": answer["r_squared"],
        "n": answer["n"],
        "worst_share": fit["plane"]["worst_share"],
        "holds": fit["plane"]["holds"],
    }


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
    """Return points of each fitted line with its 95 % interval."""
    longest = max((c["output_tokens"] for c in cells), default=1)
    points = []
    for fit in fits:
        b, k = fit["b"], fit["k"]
        if b["value"] is None or k["value"] is None:
            continue
        # Student's factor, as b's own interval has it
        factor = (b["high"] - b["low"]) / 2 / b["stderr"] if b["stderr"] else 0.0
        for i in range(FIT_POINTS):
            x = longest * i / (FIT_POINTS - 1)
            middle = b["value"] + k["value"] * x
            half = factor * line_error(fit, x)
            points.append(
                {
                    "model": fit["model"],
                    "kind": fit["kind"],
                    "tokens": x,
                    "ms": middle,
                    "low": middle - half,
                    "high": middle + half,
                }
            )
    return points
