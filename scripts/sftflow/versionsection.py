"""The page's part about versions: what was measured of a model before, and what was other then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.comparison import TELLING
from sftflow.direction import direction
from sftflow.formsection import FITTED as FIT
from sftflow.measured import read_object
from sftflow.plots import TUNED_COLORS, house_spec
from sftflow.stage import StageError
from sftflow.summary import Measurement
from sftflow.verdicts import measure_name
from sftflow.versionlog import metrics_of

#: Measures with a plot of their own, of one model.
MOST_PLOTS = 4
FITTED = dict(FIT)
#: Standard errors that a bar spans to each side.
ERRORS = 2

Version = Mapping[str, Any]  # version, date (null now), reason, metrics


def version_sections(
    results: Path, ranked: Iterable[str], summary: Sequence[Measurement], wanted: str | None
) -> tuple[list[dict[str, Any]], dict[str, dict]]:
    """Return, per model that was measured before, its versions and the plots by id."""
    path = results / "history.json"
    if not path.exists():
        return [], {}
    known = read_object(path).get("models")
    if not isinstance(known, dict):
        raise StageError(f"{path} does not have the shape of keep_history; delete it and rerun")
    told, plots = [], {}
    for number, model in enumerate((m for m in ranked if m in known), start=1):
        if not known[model]["past"]:
            continue
        mine = metrics_of(row for row in summary if row.model == model)
        now = {**known[model]["now"], "date": None, "metrics": mine}
        versions = [*known[model]["past"], now]
        names = followed(versions, wanted)
        drawn = {f"plot-versions-{number}-{i}": name for i, name in enumerate(names, start=1)}
        plots |= {id_: course(versions, name) for id_, name in drawn.items()}
        told.append(
            {
                "model": model,
                "plots": [(id_, f"{called(name)}; {better(name)}") for id_, name in drawn.items()],
                "metrics": [called(name) for name in names],
                "rows": [
                    {"number": i, **_row(version, names)}
                    for i, version in reversed([*enumerate(versions, start=1)])
                ],
            }
        )
    return told, plots


def followed(versions: Sequence[Version], wanted: str | None) -> list[str]:
    """Return the measures to draw: those of now that were measured before, most telling first."""
    before = {name for version in versions[:-1] for name in version["metrics"]}
    known = [name for name in versions[-1]["metrics"] if name in before]

    def place(name: str) -> tuple[bool, bool, int]:
        group, _, metric = name.partition("/")
        words = [i for i, word in enumerate(TELLING) if word in metric and group != "loss"]
        text = group == "loss" and metric.startswith("text.")
        return name != wanted, not text and not words, min(words, default=len(TELLING))

    chosen = sorted(known, key=place)
    some: dict[tuple[str, bool], str] = {}  # of each group the most telling before the others
    for name in chosen:
        some.setdefault((name.partition("/")[0], False), name)
    return list(dict.fromkeys([*some.values(), *chosen]))[:MOST_PLOTS]


def called(name: str) -> str:
    """Return what a measure ``group/metric`` is called for a reader."""
    group, _, metric = name.partition("/")
    return FITTED.get(metric) or measure_name(Measurement("", "", group, metric, None))


def better(name: str) -> str:
    """Return which way of a measure ``group/metric`` is the better one."""
    group, _, metric = name.partition("/")
    more = group != "latency" and direction(group, metric) > 0
    return "more is better" if more else "less is better"


def _row(version: Version, names: Sequence[str]) -> dict[str, Any]:
    figures = [version["metrics"].get(name) or [None, None, None] for name in names]
    cells = [{"value": value, "stderr": stderr} for value, stderr, _ in figures]
    return {**{key: version[key] for key in ("version", "date", "reason")}, "cells": cells}


def course(versions: Sequence[Version], name: str) -> dict:
    """Return a measure over the versions, oldest first, with bars of two standard errors."""
    import altair as alt

    rows = []
    for number, version in enumerate(versions, start=1):
        value, error, _ = version["metrics"].get(name) or (None, None, None)
        if value is None:
            continue
        label = str(number) if version["date"] else f"{number} (now)"
        ends = (None, None) if error is None else (value - ERRORS * error, value + ERRORS * error)
        row = {"version": label, "value": value, "low": ends[0], "high": ends[1]}
        what = {"what": version["reason"], "name": version["version"]}
        rows.append(row | what | {"date": version["date"] or "now"})
    order = [row["version"] for row in rows]
    chart = alt.Chart(alt.Data(values=rows))
    axis = alt.Axis(labelAngle=0, grid=False, labelOverlap=True)
    x = alt.X("version:N", sort=order, title="version", axis=axis)
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False, nice=True))
    color = alt.value(TUNED_COLORS[0])
    tips = [
        alt.Tooltip("name:N", title="version"),
        alt.Tooltip("date:N", title="measured"),
        alt.Tooltip("value:Q", format=".4f", title="value"),
        alt.Tooltip("what:N", title="what changed"),
    ]
    bars = (
        chart.transform_filter("datum.low !== null")
        .mark_rule(strokeWidth=2, opacity=0.55)
        .encode(x=x, y=alt.Y("low:Q", title=None), y2="high:Q", color=color)
    )
    line = chart.mark_line().encode(x=x, y=y, color=color)
    dots = chart.mark_point().encode(x=x, y=y, color=color, tooltip=tips)
    known = any(row["low"] is not None for row in rows)  # of none, Vega warns on the console
    return house_spec(alt.layer(*([bars] if known else []), line, dots), height=170)
