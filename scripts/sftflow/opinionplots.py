"""The page's plots of what judges and people think, as Vega-Lite specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sftflow.plots import CONFIG, ROW_HEIGHT
from sftflow.sheets import CRITERIA, HIGHEST, LOWEST

TIE = "#b9c0c9"


def win_bars(
    sets: Mapping[str, Mapping[str, Any]], models: Sequence[str], colors: Mapping[str, str]
) -> dict:
    """Return a bar of wins, ties and losses per set, with the win rate and its interval on it.

    ``sets`` is name -> figures of winrates.py; a set without a verdict has no bar.
    """
    import altair as alt

    parts = [(f"{models[0]} wins", "wins"), ("tie", "ties"), (f"{models[1]} wins", "losses")]
    shares, rates = [], []
    for name, said in sets.items():
        if not said["n"]:
            continue
        for place, (part, key) in enumerate(parts):
            row = {"set": name, "part": part, "place": place, "share": said[key]["value"]}
            shares.append({**row, "pairs": round(said[key]["value"] * said["n"])})
        rate = said["win_rate"]
        rates.append({"set": name, **{k: rate[k] for k in ("value", "low", "high", "n")}})
    tones = [colors.get(models[0], "#1f7ac4"), TIE, colors.get(models[1], "#7c8798")]
    y = alt.Y("set:N", sort=list(sets), title=None, axis=alt.Axis(labelLimit=180))
    scale = alt.Scale(domain=[part for part, _ in parts], range=tones)
    bars = (
        alt.Chart(alt.Data(values=shares))
        .mark_bar(height=18)
        .encode(
            y=y,
            x=alt.X("share:Q", stack="zero", title="share of pairs", axis=alt.Axis(format="%"),
                    scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("part:N", scale=scale),
            order=alt.Order("place:Q"),
            tooltip=[alt.Tooltip("part:N", title="verdict"), alt.Tooltip("pairs:Q"),
                     alt.Tooltip("share:Q", format=".1%")],
        )
    )  # fmt: skip
    chart = alt.Chart(alt.Data(values=rates))
    tips = [
        alt.Tooltip("value:Q", title="win rate", format=".1%"),
        alt.Tooltip("low:Q", format=".1%"),
        alt.Tooltip("high:Q", format=".1%"),
        alt.Tooltip("n:Q", title="pairs"),
    ]
    span = chart.mark_rule(strokeWidth=2, color="#000").encode(y=y, x="low:Q", x2="high:Q")
    dot = chart.mark_point(size=70, color="#000").encode(y=y, x="value:Q", tooltip=tips)
    return _spec(alt.layer(bars, span, dot), 50 + ROW_HEIGHT * len(rates))


def score_dots(
    models: Mapping[str, Mapping[str, Mapping[str, Any]]], colors: Mapping[str, str]
) -> dict:
    """Return the mean scores of people with their intervals, per criterion and model."""
    import altair as alt

    rows = [
        {"model": model, "criterion": name, **{k: means[name][k] for k in ("value", "low", "high")}}
        for model, means in models.items()
        for name in CRITERIA
        if means[name]["value"] is not None
    ]
    for row in rows:
        known = row["low"] is not None
        row["low"] = max(LOWEST, row["low"]) if known else row["value"]
        row["high"] = min(HIGHEST, row["high"]) if known else row["value"]
    names = list(models)
    tones = [colors.get(name, "#7c8798") for name in names]
    y = alt.Y("criterion:N", sort=list(CRITERIA), title=None)
    offset = alt.YOffset("model:N", sort=names)
    color = alt.Color("model:N", scale=alt.Scale(domain=names, range=tones))
    scale = alt.Scale(domain=[LOWEST, HIGHEST], nice=False)
    chart = alt.Chart(alt.Data(values=rows))
    tips = [
        alt.Tooltip("model:N"),
        alt.Tooltip("criterion:N"),
        alt.Tooltip("value:Q", format=".2f"),
    ]
    x = alt.X("value:Q", title="mean score", scale=scale, axis=alt.Axis(tickCount=5))
    span = chart.mark_rule(strokeWidth=2, opacity=0.55).encode(
        y=y,
        yOffset=offset,
        x=alt.X("low:Q", title="mean score", scale=scale),
        x2="high:Q",
        color=color,
    )
    dots = chart.mark_point(size=70).encode(y=y, yOffset=offset, x=x, color=color, tooltip=tips)
    return _spec(alt.layer(span, dots), 40 + ROW_HEIGHT * len(CRITERIA))


def _spec(chart: Any, height: int) -> dict:
    spec = chart.properties(width="container", height=height).to_dict()
    return {**spec, "config": CONFIG}
