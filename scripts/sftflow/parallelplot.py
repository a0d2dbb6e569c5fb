"""Parallel coordinates: a line per trial through its settings to its validation loss.

Places on the axes are computed here, so that an axis may be of numbers, logarithms or names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sftflow.figures import plain
from sftflow.plots import BASE_COLORS, CONFIG, TUNED_COLORS

Row = Mapping[str, Any]  # {name, settings: {key: value}, loss: float or None, best}
LOSS = "validation loss"
#: Losses of which the highest is more than so many times the lowest are drawn by logarithm.
WIDE = 10.0
MOST_WRITTEN = 10  # values beside an axis
ROOM = 0.05  # above and below the axes, for what is written there
DIVERGED = 1.15  # where a trial without a loss ends: above the axis, which is 0 to 1


def parallel_coordinates(rows: Sequence[Row], space: Mapping[str, Mapping[str, Any]]) -> dict:
    """Return the plot of trials; ``space`` says of each key its choices, or low, high and log."""
    import altair as alt

    names = _short(list(space))
    order = [*names.values(), LOSS]
    losses = sorted(row["loss"] for row in rows if row["loss"] is not None)
    lines = [point for row in rows for point in _points(row, names, space, losses)]
    x = alt.X(
        "axis:N",
        sort=order,
        title=None,
        scale=alt.Scale(type="point", padding=0.35),
        axis=alt.Axis(labelAngle=0, labelLimit=140, labelFontWeight="bold", orient="top"),
    )
    top = DIVERGED if len(losses) < len(rows) else 1.0
    y = alt.Y("at:Q", title=None, axis=None, scale=alt.Scale(domain=[-ROOM, top + ROOM]))
    scale = alt.Scale(domain=[0, 1], range=[TUNED_COLORS[0], BASE_COLORS[0]])
    color = alt.Color("rank:Q", scale=scale, legend=None)
    tips = [alt.Tooltip(f"{f}:N", title=f) for f in ("trial", "settings", "loss")]
    base = alt.Chart(alt.Data(values=lines)).encode(x=x, y=y, tooltip=tips)
    some = base.transform_filter("!datum.best").mark_line(opacity=0.6)
    best = base.transform_filter("datum.best").mark_line(strokeWidth=4, color=TUNED_COLORS[1])
    ticks = alt.Chart(alt.Data(values=_ticks(names, space, losses, len(losses) < len(rows))))
    rules = [{"axis": name, "at": 0, "to": 1} for name in order]
    axes = alt.Chart(alt.Data(values=rules)).mark_rule(color=BASE_COLORS[0])
    # A halo of the page's colour would hide lines, so the words stand beside their axis.
    words = ticks.mark_text(align="left", dx=5, fontSize=11).encode(x=x, y=y, text="text:N")
    marks = ticks.mark_point(shape="stroke", size=40, color=BASE_COLORS[0]).encode(x=x, y=y)
    chart = alt.layer(
        axes.encode(x=x, y=y, y2="to:Q"),
        some.encode(color=color, detail="trial:N"),
        best.encode(detail="trial:N"),
        marks,
        words,
    )
    return {**chart.properties(width="container", height=280).to_dict(), "config": CONFIG}


def _short(keys: Sequence[str]) -> dict[str, str]:
    """Return key -> what its axis is called: its last part, the whole where two share that."""
    last = [key.split(".")[-1] for key in keys]
    return {
        key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)
    }


def placed(value: Any, dimension: Mapping[str, Any]) -> float:
    """Return where a value stands on the axis of its dimension, from 0 to 1."""
    if "choices" in dimension:
        number = list(dimension["choices"]).index(value)
        return number / max(1, len(dimension["choices"]) - 1)
    low, high = dimension["low"], dimension["high"]
    if dimension["log"]:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low) if high > low else 0.5


def _loss_axis(losses: Sequence[float]) -> dict[str, Any]:
    low, high = losses[0], losses[-1]
    return {"low": low, "high": high, "log": low > 0 and high / low > WIDE}


def _points(
    row: Row, names: Mapping[str, str], space: Mapping[str, Any], losses: Sequence[float]
) -> list[dict[str, Any]]:
    """Return the points of a trial's line, one per axis, the loss last."""
    loss = row["loss"]
    rank = losses.index(loss) / max(1, len(losses) - 1) if loss is not None else 1.0
    said = {
        "trial": row["name"],
        "settings": ", ".join(f"{names[k]} {plain(v)}" for k, v in row["settings"].items()),
        "loss": "diverged" if loss is None else f"{loss:.4f}",
        "rank": rank,
        "best": row["best"],
    }
    at = {names[key]: placed(row["settings"][key], space[key]) for key in names}
    at[LOSS] = DIVERGED if loss is None else placed(loss, _loss_axis(losses))
    return [{**said, "axis": name, "at": place} for name, place in at.items()]


def _ticks(
    names: Mapping[str, str],
    space: Mapping[str, Any],
    losses: Sequence[float],
    some_diverged: bool,
) -> list[dict[str, Any]]:
    """Return the values that are written at each axis: the choices, every n-th of many, or ends."""
    found = []
    for key, name in names.items():
        dimension = space[key]
        values = dimension.get("choices") or [dimension["low"], dimension["high"]]
        values = values[:: math.ceil(len(values) / MOST_WRITTEN)]
        found += [{"axis": name, "at": placed(v, dimension), "text": plain(v)} for v in values]
    ends = sorted({losses[0], losses[-1]}) if losses else []
    found += [{"axis": LOSS, "at": placed(v, _loss_axis(losses)), "text": f"{v:.4g}"} for v in ends]
    if some_diverged:
        found.append({"axis": LOSS, "at": DIVERGED, "text": "diverged"})
    return found
