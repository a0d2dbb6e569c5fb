"""The report's plots as Vega-Lite specifications (dicts of JSON, the data inside).

Text and grid take their colours from the page's style sheet, so that one drawing serves
light, dark and paper. Field names are fixed here; data only ever fills values, never a
name or an expression.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sftflow.lengthbars import bars, marked

if TYPE_CHECKING:
    import altair as alt

#: Readable on white and on near-black, told apart by the colour-blind (after Okabe and Ito,
#: https://jfly.uni-koeln.de/color/); the first is for bases, so it is the quiet one.
BASE_COLORS = ("#7c8798", "#a08f7a", "#8f86a3")
TUNED_COLORS = (
    *("#1f7ac4", "#d4631a", "#159570", "#b8579b", "#a67c00"),
    *("#5d6bd0", "#8c5a48", "#0f8ea3", "#6f7d2a", "#c23b4e"),
)
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
CONFIG = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelPadding": 6,
        "labelSeparation": 4,
        "domain": False,
        "ticks": False,
        "gridOpacity": 1,
    },
    "axisX": {"tickCount": 6},
    "legend": {
        "labelFontSize": 12,
        "orient": "top",
        "title": None,
        "labelLimit": 240,
        "symbolOpacity": 1,
        "symbolType": "circle",
        "symbolStrokeWidth": 0,
        "symbolSize": 90,
    },
    "point": {"size": 46, "filled": True, "opacity": 1},
}
#: Above this many metrics a dot plot is no longer read, only scrolled past.
MOST_DOTS = 60

#: Pixels per metric in the dot plot.
ROW_HEIGHT = 34

Row = Mapping[str, Any]


def loss_curves(
    history: Sequence[Row],
    run_colors: Mapping[str, str] | None = None,
    mark: Mapping[str, Any] | None = None,
    unit: str = "loss (nats per token)",
) -> dict:
    """Return training and validation loss over steps, rows of {run, step, curve, loss}.

    One run: a line per curve, and at a step a line with a word (``mark``: {step, text, turned}).
    Several (``run_colors``): a line per run and curve, dashed for training.
    """
    import altair as alt

    base = alt.Chart(alt.Data(values=list(history)))
    if run_colors:
        color = _model_color(run_colors, "run")
    else:
        color = alt.Color(
            "curve:N", scale=_scale(["training", "validation"], [BASE_COLORS[0], TUNED_COLORS[0]])
        )
    encoding = {
        "x": alt.X("step:Q", title="optimizer step", axis=alt.Axis(grid=False)),
        "y": alt.Y("loss:Q", title=unit, scale=alt.Scale(zero=False, nice=True)),
        "color": color,
        "tooltip": [_tip("run", "N"), _tip("curve", "N"), _tip("step"), _tip("loss", form=".4f")],
    }
    dash = alt.StrokeDash("curve:N", scale=_dashes(), legend=None) if run_colors else alt.Undefined
    line = base.mark_line(clip=True).encode(**encoding, strokeDash=dash)
    dots = base.transform_filter("datum.curve == 'validation'").mark_point().encode(**encoding)
    marks = _marked_step(mark, max(row["step"] for row in history)) if mark else []
    return house_spec(alt.layer(*marks, line, dots), height=230)


def _marked_step(mark: Mapping[str, Any], last: int) -> list[alt.Chart]:
    """Return a line across a plot over steps and, on the side with more room, what it means."""
    import altair as alt

    base = alt.Chart(alt.Data(values=[{"step": mark["step"], "text": mark["text"]}]))
    at = alt.X("step:Q", title="optimizer step")
    color = TUNED_COLORS[1] if mark["turned"] else BASE_COLORS[0]
    late = mark["step"] > last / 2
    line = base.mark_rule(color=color, strokeWidth=1.5, strokeDash=[5, 3]).encode(x=at)
    word = base.mark_text(
        align="right" if late else "left",
        baseline="top",
        dx=-6 if late else 6,
        fontSize=12,
        lineBreak="\n",
    ).encode(x=at, y=alt.value(2), text="text:N")
    return [line, word]


def metric_dots(rows: Sequence[Row], colors: Mapping[str, str]) -> dict:
    """Return base and tuned per metric with bars of two standard errors.

    Rows are {model, measure, value, low, high}; ``low`` and ``high`` are null where no
    standard error is known.
    """
    import altair as alt

    order = list(dict.fromkeys(row["measure"] for row in rows))
    y = alt.Y("measure:N", sort=order, title=None, axis=alt.Axis(labelLimit=230, grid=True))
    color = _model_color(colors)
    offset = alt.YOffset("model:N", sort=list(colors))
    chart = alt.Chart(alt.Data(values=list(rows)))
    x = alt.X("value:Q", title=None, scale=alt.Scale(domain=[0, 1], nice=False))
    tips = [_tip("model", "N"), _tip("measure", "N"), _tip("value", form=".4f")]
    bars = (
        chart.transform_filter("datum.low !== null")
        .mark_rule(strokeWidth=2, opacity=0.55)
        .encode(y=y, yOffset=offset, x=alt.X("low:Q", title=None), x2="high:Q", color=color)
    )
    dots = chart.mark_point(size=70).encode(y=y, yOffset=offset, x=x, color=color, tooltip=tips)
    return house_spec(alt.layer(bars, dots), height=36 + ROW_HEIGHT * len(order))


def latency_lines(
    rows: Sequence[Row], colors: Mapping[str, str], title: str, over: str = "prompt_tokens"
) -> dict:
    """Return median (line) and p95 (whisker) of a latency over the prompt length, or the rate.

    Rows are {model, kind, p50, p95, and the field ``over``}, times in ms, one per model and point.
    """
    import altair as alt

    chart = alt.Chart(alt.Data(values=list(rows)))
    what = {"prompt_tokens": "prompt tokens", "rate_per_s": "requests/s that arrive"}[over]
    x = alt.X(f"{over}:Q", title=what, axis=_exact_axis(rows, over))
    color = _model_color(colors)
    tips = [
        _tip("model", "N"),
        _tip(over, title=what),
        _tip("p50", form=".2f", title="p50 (ms)"),
        _tip("p95", form=".2f", title="p95 (ms)"),
    ]
    y = alt.Y("p50:Q", title=title, scale=alt.Scale(zero=True, nice=True))
    width = _by_kind("strokeWidth", [6, 2])
    line = chart.mark_line().encode(x=x, y=y, color=color, strokeWidth=width)
    rule = chart.mark_rule(opacity=0.55).encode(
        x=x, y=y, y2="p95:Q", color=color, strokeWidth=_by_kind("strokeWidth", [6, 2])
    )
    dots = chart.mark_point().encode(
        x=x, y=y, color=color, size=_by_kind("size", [150, 40]), tooltip=tips
    )
    return house_spec(alt.layer(rule, line, dots), height=200)


def answer_time(fits: Sequence[Row], cells: Sequence[Row], colors: Mapping[str, str]) -> dict:
    """Return the fitted line ``b + k * x`` per model with its interval, over measured medians.

    ``fits`` are {model, kind, tokens, ms, low, high}, two or more per model; ``cells`` are
    {model, kind, prompt_tokens, tokens, ms}: the medians that the lowest concurrency showed.
    """
    import altair as alt

    color = _model_color(colors)
    x = alt.X("tokens:Q", title="generated tokens x", axis=alt.Axis(grid=False))
    y = alt.Y("ms:Q", title="time (ms)", scale=alt.Scale(zero=True))
    lines = alt.Chart(alt.Data(values=list(fits)))
    band = lines.mark_area(opacity=0.16).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=color)
    width = _by_kind("strokeWidth", [6, 2])
    line = lines.mark_line().encode(x=x, y=y, color=color, strokeWidth=width)
    tips = [
        _tip("model", "N"),
        _tip("prompt_tokens", title="prompt tokens"),
        _tip("tokens", title="generated tokens"),
        _tip("ms", form=".2f", title="median (ms)"),
    ]
    dots = (
        alt.Chart(alt.Data(values=list(cells)))
        .mark_point()
        .encode(x=x, y=y, color=color, size=_by_kind("size", [150, 40]), tooltip=tips)
    )
    return house_spec(alt.layer(band, line, dots), height=260)


def token_lengths(bins: Sequence[Sequence[int]], limit: int) -> dict:
    """Return a histogram of lengths [[lowest of the bin, samples], ...] with a line at ``limit``.

    What lies over the limit has another colour; the axis is logarithmic.
    """
    import altair as alt

    rows = [{**row, "from": max(1, row["from"])} for row in marked(bars(bins), limit)]
    low, high = rows[0]["from"], max(rows[-1]["to"], limit)
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    axis = alt.Axis(grid=False, labelOverlap=True, format=",d")
    color = alt.Color("part:N", legend=None, scale=_scale(["kept", "over"], TUNED_COLORS[:2]))
    tips = [_tip("from", title="from (tokens)"), _tip("to", title="to"), _tip("rows", form=",d")]
    drawn = (
        alt.Chart(alt.Data(values=rows))
        .mark_rect()
        .encode(
            x=alt.X("from:Q", title="tokens per sample", scale=scale, axis=axis),
            x2="to:Q",
            y=alt.Y("rows:Q", title="samples"),
            y2="none:Q",
            color=color,
            tooltip=tips,
        )
    )
    at = alt.Chart(alt.Data(values=[{"at": limit}]))
    line = at.mark_rule(color=TUNED_COLORS[1], strokeWidth=2, strokeDash=[5, 3]).encode(x="at:Q")
    return house_spec(alt.layer(drawn, line), height=180)


def _by_kind(channel: str, sizes: Sequence[float]) -> alt.StrokeWidth | alt.Size:
    """Draw bases broad and tuned models thin on top, so that equal ones are both seen."""
    import altair as alt

    kinds = {"strokeWidth": alt.StrokeWidth, "size": alt.Size}
    return kinds[channel]("kind:O", scale=_scale(["base", "tuned"], sizes), legend=None)


def _model_color(colors: Mapping[str, str], field: str = "model") -> alt.Color:
    """Return the colour of each model; its legend is on the page, where long names wrap."""
    import altair as alt

    scale = _scale(list(colors), list(colors.values()))
    return alt.Color(f"{field}:N", scale=scale, legend=None)


def _scale(domain: Sequence[str], values: Sequence[str | float]) -> alt.Scale:
    import altair as alt

    return alt.Scale(domain=list(domain), range=list(values))


def _dashes() -> alt.Scale:
    import altair as alt

    return alt.Scale(domain=["training", "validation"], range=[[3, 3], [1, 0]])


def _exact_axis(rows: Sequence[Row], field: str) -> alt.Axis:
    """Return an axis with a tick at each value that was measured and nowhere else."""
    import altair as alt

    values = sorted({row[field] for row in rows})
    return alt.Axis(values=values, grid=False, labelOverlap=True, format=",~f")


def _tip(field: str, kind: str = "Q", form: str | None = None, title: str | None = None):
    import altair as alt

    options = {"format": form} if form else {}
    return alt.Tooltip(f"{field}:{kind}", title=title or field.replace("_", " "), **options)


def house_spec(chart: alt.LayerChart, height: int) -> dict:
    """Return the chart as a plain dict: as wide as its place on the page, in the house style."""
    spec = chart.properties(width="container", height=height).to_dict()
    spec["config"] = CONFIG
    return spec
