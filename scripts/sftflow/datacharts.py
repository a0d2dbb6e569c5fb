"""The dataset page's plots as pictures (SVG in a data URI): that page runs no script.

A picture can't know the page's colours, so text and grid are greys that can be read on white
and on near-black, and colours are those of plots.py. Each function returns None without data.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sftflow.lengthbars import bars, marked
from sftflow.lengths import EDGES, Bins
from sftflow.plots import BASE_COLORS, TUNED_COLORS

if TYPE_CHECKING:
    import altair as alt

GREY = "#808a96"
NOW, CUT, BEFORE = TUNED_COLORS[0], TUNED_COLORS[1], BASE_COLORS[0]
BELOW = "#41719c"  # dark enough for white text on it
WIDTH, HEIGHT = 440, 170
DRAWN_WORDS = 14
DRAWN_TAGS = 15
ROW = 21  # pixels of the picture of openings, for each line


def histogram(bins: Bins, title: str, limit: int | None = None) -> str | None:
    """Return a histogram of lengths; what lies over ``limit`` in another colour, with a line."""
    import altair as alt

    rows = marked(bars(bins), limit)
    if not rows:
        return None
    chart = alt.Chart(alt.Data(values=rows))
    x, y = _length_axis(rows, title, limit), _count_axis()
    color = alt.Color("part:N", scale=alt.Scale(domain=["kept", "over"], range=[NOW, CUT]))
    # y2 named, or a bar between two x would be a line at the height y
    drawn = chart.mark_rect().encode(x=x, x2="to:Q", y=y, y2="none:Q", color=color.legend(None))
    layers = [drawn]
    if limit is not None:
        at = alt.Chart(alt.Data(values=[{"at": limit, "label": f"max_length {limit:,}"}]))
        layers.append(at.mark_rule(color=CUT, strokeWidth=2, strokeDash=[5, 3]).encode(x="at:Q"))
        left = limit > _middle(rows)
        text = at.mark_text(color=CUT, align="right" if left else "left", fontSize=12)
        layers.append(text.encode(x="at:Q", y=alt.value(-7), text="label:N"))
    return picture(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT))


def _middle(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the middle of the axis, which is logarithmic where lengths differ much."""
    low, high = max(1, rows[0]["from"]), rows[-1]["to"]
    return (low * high) ** 0.5 if _is_wide(low, high) else (low + high) / 2


def _is_wide(low: float, high: float) -> bool:
    return high >= 4 * low


def _length_axis(rows: Sequence[dict[str, Any]], title: str, limit: int | None = None) -> alt.X:
    import altair as alt

    low, high = max(1, rows[0]["from"]), max(rows[-1]["to"], limit or 0)
    for row in rows:
        row["from"] = max(1, row["from"])  # a logarithm of 0 is nowhere
    wide = _is_wide(low, high)
    scale = alt.Scale(type="log" if wide else "linear", domain=[low, high], nice=False, zero=False)
    ticks = _round_lengths(low, high) if wide else alt.Undefined
    axis = alt.Axis(values=ticks, grid=False, tickCount=6, format=",d", labelOverlap=True)
    return alt.X("from:Q", title=title, scale=scale, axis=axis)


def _round_lengths(low: int, high: int) -> list[int]:
    """Return 1, 2, 5, 10 ... within the axis; only powers of ten where it is very long."""
    steps = (1, 2, 5) if high / low < 2000 else (1,)
    return [
        step * 10**power for power in range(10) for step in steps if low <= step * 10**power <= high
    ]


def _count_axis(title: str | None = None) -> alt.Y:
    import altair as alt

    return alt.Y("rows:Q", title=title, axis=alt.Axis(tickCount=4, tickMinStep=1, format="~s"))


def overlay(now: Bins, before: Bins, title: str) -> str | None:
    """Return two histograms over each other, each as shares of its own texts."""
    import altair as alt

    every = sorted([*now, *before])
    joined = bars([[low, 0] for low in dict.fromkeys(low for low, _ in every)])
    if not now or not before:
        return None
    rows = [
        {"from": bar["from"], "to": bar["to"], "none": 0, "rows": share, "version": name}
        for name, bins in (("before", before), ("now", now))
        for bar, share in zip(joined, _shares(bins, joined), strict=True)
    ]
    color = alt.Color("version:N", legend=None)
    color = color.scale(alt.Scale(domain=["before", "now"], range=[BEFORE, NOW]))
    chart = alt.Chart(alt.Data(values=rows)).mark_rect(opacity=0.55)
    y = alt.Y("rows:Q", title=None, axis=alt.Axis(tickCount=4, format="%"))
    chart = chart.encode(
        x=_length_axis(rows, title), x2="to:Q", y=y.stack(None), y2="none:Q", color=color
    )
    return picture(chart.properties(width=WIDTH, height=HEIGHT))


def _shares(bins: Bins, joined: Sequence[Mapping[str, int]]) -> list[float]:
    total = sum(n for _, n in bins)
    return [sum(n for low, n in bins if bar["from"] <= low < bar["to"]) / total for bar in joined]


def scatter(points: Sequence[Sequence[Any]], sources: Sequence[str]) -> str | None:
    """Return points [id, source, x, y] in the plane, coloured by source, most frequent first."""
    import altair as alt

    if not points:
        return None
    named = list(sources[: len(TUNED_COLORS)])
    rows = [
        {"source": source if source in named else "other", "x": x, "y": y}
        for _, source, x, y in points
    ]
    colors = [*TUNED_COLORS[: len(named)], BEFORE]
    scale = alt.Scale(domain=[*named, "other"][: len(named) + (len(sources) > len(named))])
    scale["range"] = colors
    legend = alt.Legend(title=None, labelColor=GREY, orient="bottom", symbolOpacity=1)
    axis = {"axis": None, "scale": alt.Scale(domain=[-1.03, 1.03], nice=False)}
    chart = alt.Chart(alt.Data(values=rows)).mark_circle(size=16, opacity=0.55)
    chart = chart.encode(
        x=alt.X("x:Q", **axis),
        y=alt.Y("y:Q", **axis),
        color=alt.Color("source:N", scale=scale, legend=legend if len(sources) > 1 else None),
    )
    return picture(chart.properties(width=WIDTH, height=WIDTH * 3 // 4))


def turn_bars(bins: Bins, most: int = 16) -> str | None:
    """Return a bar per number of turns; what is beyond ``most`` bars in the last one.

    None for one bar too: the table says that as well.
    """
    import altair as alt

    if len(bins) < 2:
        return None
    rows = [{"turns": _turns(low), "rows": n} for low, n in bins[:most]]
    rest = sum(n for _, n in bins[most:])
    if rest:
        rows.append({"turns": f"{bins[most][0]}+", "rows": rest})
    chart = alt.Chart(alt.Data(values=rows)).mark_bar(color=NOW, width=alt.RelativeBandSize(0.8))
    axis = alt.Axis(labelAngle=0, grid=False)
    chart = chart.encode(
        x=alt.X("turns:N", sort=None, title="answers in a row", axis=axis), y=_count_axis()
    )
    return picture(chart.properties(width=max(120, min(WIDTH, 44 * len(rows))), height=HEIGHT))


def _turns(low: int) -> str:
    """Return what stands under a bar: one number, or the span of its bin."""
    high = EDGES[EDGES.index(low) + 1] - 1
    return str(low) if low == high else f"{low}–{high}"


def tag_bars(tags: Sequence[Mapping[str, Any]], most: int = DRAWN_TAGS) -> str | None:
    """Return two bars for each tag: its rows as they were read, and those trained on."""
    import altair as alt

    shown = list(tags)[:most]
    if not shown:
        return None
    rows = [
        {"tag": row["tag"], "part": part, "rows": row[part]}
        for row in shown
        for part in ("read", "trained")
    ]
    chart = alt.Chart(alt.Data(values=rows)).mark_bar()
    names = [row["tag"] for row in shown]
    x = alt.X("rows:Q", title="rows", axis=alt.Axis(tickCount=5, tickMinStep=1, format="~s"))
    y = alt.Y("tag:N", sort=names, title=None, axis=alt.Axis(labelLimit=170, ticks=False))
    domain = ["read", "trained"]
    color = alt.Color("part:N", scale=alt.Scale(domain=domain, range=[BEFORE, NOW]), legend=None)
    drawn = chart.encode(x=x, y=y, yOffset=alt.YOffset("part:N", sort=domain), color=color)
    return picture(drawn.properties(width=WIDTH, height=alt.Step(9)))


def openings(words: Sequence[Mapping[str, Any]], most: int = DRAWN_WORDS) -> str | None:
    """Return first words (left) and the words that follow them (right), as high as frequent."""
    import altair as alt

    rows = opening_blocks(words[:most])
    if not rows:
        return None
    chart = alt.Chart(alt.Data(values=rows))
    bottom = max(row["y2"] for row in rows)
    y = alt.Y("y1:Q", axis=None, scale=alt.Scale(domain=[bottom, 0], nice=False))
    x = alt.X("x1:Q", axis=None, scale=alt.Scale(domain=[0, 2], nice=False))
    shade = alt.Opacity("shade:Q", scale=None)
    fill = alt.Color("fill:N", scale=None)
    blocks = chart.mark_rect(stroke="#ffffff", strokeOpacity=0.35, strokeWidth=1)
    blocks = blocks.encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=fill, opacity=shade)
    text = chart.transform_filter("datum.label").mark_text(
        align="left", dx=8, fontSize=12, color="#ffffff", limit=200
    )
    text = text.encode(x="x1:Q", y="mid:Q", text="label:N")
    height = min(620, max(160, ROW * sum(bool(row["label"]) for row in rows) * 7 // 10))
    return picture(alt.layer(blocks, text).properties(width=WIDTH, height=height))


def opening_blocks(words: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rectangles {x1, x2, y1, y2, label}: a word on the left, what follows on the right.

    y counts texts, so the right side of a word is as high as its left side; what is too low for
    a label has none.
    """
    rows: list[dict[str, Any]] = []
    readable = 0.022 * sum(word["texts"] for word in words)
    top = 0
    for number, word in enumerate(words):
        texts = word["texts"]
        shade = 0.92 if number % 2 else 1.0
        label = f"{word['word'] or '(no word)'}  {texts:,}" if texts >= readable else ""
        block = {"y1": top, "y2": top + texts, "mid": top + texts / 2, "label": label}
        rows.append({**block, "x1": 0, "x2": 0.98, "shade": shade, "fill": NOW})
        below = top
        for following, n in word["next"]:
            if n < 0.6 * readable:
                break
            label = f"{following or '(end)'}  {n:,}" if n >= readable else ""
            block = {"y1": below, "y2": below + n, "mid": below + n / 2, "label": label}
            rows.append({**block, "x1": 1, "x2": 2, "shade": shade, "fill": BELOW})
            below += n
        top += texts
    return rows


def picture(chart: alt.Chart | alt.LayerChart) -> str:
    """Return a chart as an SVG data URI, in the page's style."""
    import vl_convert

    chart = chart.configure(background="transparent", font="sans-serif")
    chart = chart.configure_view(stroke=None).configure_axis(
        labelColor=GREY,
        titleColor=GREY,
        gridColor="#80808040",
        domain=False,
        tickColor="#80808080",
        labelFontSize=11,
        titleFontSize=12,
        titleFontWeight="normal",
    )
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
