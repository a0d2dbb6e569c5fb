"""Plots of speed beside those that plots.py has: residuals of the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sftflow.plots import CONFIG


def residuals(rows: Sequence[Mapping[str, Any]], colors: Mapping[str, str]) -> dict:
    """Return how far each cell lies from the fitted plane, in % of it, over what is fitted.

    Rows are {model, prompt_tokens, output_tokens, concurrency, fitted_ms, share, low, high}, the
    last three in %, with two standard errors to each side.
    """
    import altair as alt

    chart = alt.Chart(alt.Data(values=list(rows)))
    scale = alt.Scale(domain=list(colors), range=list(colors.values()))
    color = alt.Color("model:N", scale=scale, legend=None)
    x = alt.X("fitted_ms:Q", title="fitted time (ms)", axis=alt.Axis(grid=False))
    titles = {
        "model": "model",
        "prompt_tokens": "prompt tokens",
        "output_tokens": "generated tokens",
        "concurrency": "requests at once",
    }
    tips = [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]
    tips.append(alt.Tooltip("share:Q", title="residual (%)", format="+.1f"))
    y = alt.Y("share:Q", title="residual (%)")
    bars = chart.mark_rule(opacity=0.55).encode(x=x, y="low:Q", y2="high:Q", color=color)
    dots = chart.mark_point().encode(x=x, y=y, color=color, tooltip=tips)
    zero = alt.Chart(alt.Data(values=[{"none": 0}])).mark_rule(color="#7c8798").encode(y="none:Q")
    spec = alt.layer(zero, bars, dots).properties(width="container", height=200).to_dict()
    return {**spec, "config": CONFIG}
