"""The forest plot: each measure's paired difference with its interval, better to the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sftflow.plots import BASE_COLORS, CONFIG, MOST_DOTS, TUNED_COLORS

ROW_HEIGHT = 22  # pixels per measure
COLORS = {"better": TUNED_COLORS[2], "worse": TUNED_COLORS[1], "same": BASE_COLORS[0]}

Row = Mapping[str, Any]


def drawn_measures(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return what the plot shows of measures of 0 to 1, the largest gain first.

    Rows are {measure, direction, verdict, pair}. A measure of which less is better is turned
    round, so that a gain is one; where there are many, those with the clearest differences stay.
    """
    shown = []
    for row in rows:
        pair, way = row["pair"], row["direction"]
        if not way or pair["low"] is None or not _is_share(pair, row["measure"]):
            continue
        low, high = sorted((way * pair["low"], way * pair["high"]))
        told = {"measure": row["measure"], "verdict": row["verdict"], "low": low, "high": high}
        numbers = {"gain": way * pair["difference"], "n": pair["n"], "p": pair["p_holm"]}
        before_and_after = {"before": pair["against"], "after": pair["model"]}
        shown.append({**told, **numbers, **before_and_after})
    clearest = sorted(shown, key=lambda row: row["p"] if row["p"] is not None else 1.0)
    return sorted(clearest[:MOST_DOTS], key=lambda row: -row["gain"])


def _is_share(pair: Row, measure: str) -> bool:
    """Say whether a measure runs from 0 to 1; BLEU and chrF run to 100 even when they are low.

    A loss may lie there, but has no end at 1.
    """
    name = measure.partition("[")[0].partition(" ")[0].rpartition(".")[2]
    other = name in ("bleu", "chrf", "ter") or pair["group"] == "loss"
    return not other and all(0 <= pair[side] <= 1 for side in ("against", "model"))


def forest(rows: Sequence[Row]) -> dict:
    """Return the plot of what ``drawn_measures`` gave."""
    import altair as alt

    order = [row["measure"] for row in rows]
    chart = alt.Chart(alt.Data(values=list(rows)))
    y = alt.Y("measure:N", sort=order, title=None, axis=alt.Axis(labelLimit=230, grid=False))
    title = "\u2190 worse   gain   better \u2192"
    x = alt.X("gain:Q", title=title, scale=alt.Scale(zero=True, nice=True))
    scale = alt.Scale(domain=list(COLORS), range=list(COLORS.values()))
    color = alt.Color("verdict:N", scale=scale, legend=None)
    tips = [
        alt.Tooltip("measure:N", title="measure"),
        alt.Tooltip("before:Q", format=".4f", title="before"),
        alt.Tooltip("after:Q", format=".4f", title="after"),
        alt.Tooltip("low:Q", format="+.4f", title="gain, from"),
        alt.Tooltip("high:Q", format="+.4f", title="to"),
        alt.Tooltip("p:Q", format=".3g", title="p (Holm)"),
        alt.Tooltip("n:Q", format=",d", title="rows"),
    ]
    bars = chart.mark_rule(strokeWidth=2).encode(y=y, x=alt.X("low:Q"), x2="high:Q", color=color)
    dots = chart.mark_point(size=60).encode(y=y, x=x, color=color, tooltip=tips)
    nothing = alt.Chart(alt.Data(values=[{"at": 0}])).mark_rule(
        color=BASE_COLORS[0], strokeDash=[4, 3]
    )
    layers = alt.layer(nothing.encode(x=alt.X("at:Q", title=title)), bars, dots)
    height = 30 + ROW_HEIGHT * len(order)
    spec = layers.properties(width="container", height=height).to_dict()
    spec["config"] = CONFIG
    return spec
