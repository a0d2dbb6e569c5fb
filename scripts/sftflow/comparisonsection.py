"""The page's part about each tuned model beside its start model: a table and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sftflow import modelcolors, plots
from sftflow.comparison import Comparison


def comparison_section(
    compared: Mapping[str, Sequence[Comparison]],
    ranked: Sequence[str],
    models: Sequence[Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], dict[str, dict]]:
    """Return the tables of base and tuned, best model first, and their plots by id."""
    colors, base_of = modelcolors.model_colors(models), {m["name"]: m["base"] for m in models}
    said, drawn = [], {}
    for number, model in enumerate(ranked, start=1):
        comparisons = compared[model]
        groups: dict[str, list[Comparison]] = {}
        for c in comparisons:
            groups.setdefault(c.group, []).append(c)
        dots = [c for c in comparisons if _is_share(c)]
        chosen = sorted(dots, key=lambda c: -c.errors_apart)[: plots.MOST_DOTS]
        shown = [c for c in dots if c in chosen]
        id_ = f"plot-compared-{number}"
        pair = [name for name in (base_of[model], model) if name in colors]
        if shown:
            rows = [row for c in shown for row in _dots(c, _label(c, shown))]
            drawn[id_] = plots.metric_dots(rows, {name: colors[name] for name in pair})
        said.append(
            {
                "model": model,
                "base": base_of[model],
                "key": [(name, colors[name]) for name in pair],
                "groups": list(groups.items()),
                "plot": id_ if shown else None,
                "shown": len(shown),
                "left_out": len(dots) - len(shown),
            }
        )
    return said, drawn


def _is_share(c: Comparison) -> bool:
    """Say whether a measure is drawn on the axis from 0 to 1."""
    values = [m.value for m in (c.base, c.tuned) if m is not None and m.value is not None]
    other = (
        c.group in ("loss", "people")
        or c.direction <= 0
        or c.metric.endswith((".bleu", ".chrf", ".ter"))
    )
    return not other and bool(values) and all(0 <= v <= 1 for v in values)


def _label(c: Comparison, shown: Sequence[Comparison]) -> str:
    """Return the metric, with its group only where two groups have it."""
    alone = sum(other.metric == c.metric for other in shown) == 1
    return c.metric if alone else f"{c.metric} ({c.group})"


def _dots(c: Comparison, measure: str) -> list[dict[str, Any]]:
    return [
        {
            "model": m.model,
            "measure": measure,
            "value": m.value,
            "low": None if m.stderr is None else max(0.0, m.value - 2 * m.stderr),
            "high": None if m.stderr is None else min(1.0, m.value + 2 * m.stderr),
        }
        for m in (c.base, c.tuned)
        if m is not None and m.value is not None
    ]
