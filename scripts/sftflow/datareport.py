"""What a dataset is made of: where its rows went, how long they are, what they look like."""

from __future__ import annotations

import base64
import heapq
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sftflow.prompts import normalized
from sftflow.records import read_rows

SAMPLES = 8
REJECTED_PER_REASON = 3
SHOWN_CHARS = 1200
BINS = 30
SCRIPT_CHARS = 400  # of each record looked at for its script


def funnel(
    sources: Mapping[str, Mapping[str, Any]], cleaned: Mapping[str, Any], split: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the levels from raw rows to training rows: {label, rows, lost, reasons}."""
    raw = sum(counts["rows_in"] for counts in sources.values())
    read: Counter[str] = Counter()
    for counts in sources.values():
        read.update(counts["rejected"])
    kept = sum(counts["kept"] for counts in sources.values())
    levels = [
        _level("raw rows", raw, {}, raw),
        _level("read as conversations", kept, read, raw),
    ]
    for step in cleaned["steps"]:
        levels.append(_level(step["step"], step["rows_out"], step["rejected"], raw))
        levels[-1]["changed"] = step["changed"]
    aside = {side: split[side] for side in ("validation", "test") if split[side]}
    levels.append(_level("training rows", split["train"], aside, raw))
    levels[-1]["set_aside"] = True
    return levels


def _level(label: str, rows: int, reasons: Mapping[str, int], raw: int) -> dict[str, Any]:
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return {
        "label": label,
        "rows": rows,
        "lost": sum(reasons.values()),
        "reasons": ranked,
        "share": rows / raw if raw else None,
        "changed": 0,
        "set_aside": False,
    }


class Portrait:
    """Figures of many records, gathered one by one; a few bytes each stay in memory."""

    def __init__(self) -> None:
        """Start without any record."""
        self.prompt_chars, self.answer_chars = array("q"), array("q")
        self.turns: Counter[int] = Counter()
        self.openings: Counter[str] = Counter()
        self.scripts: Counter[str] = Counter()
        self.with_system = self.with_tools = 0
        self._samples: list[tuple[str, dict[str, Any]]] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in one record."""
        said = record["messages"]
        prompts = [m["content"] for m in said if m["role"] == "user"]
        self.prompt_chars.append(sum(map(len, prompts)))
        self.answer_chars.extend(len(m["content"]) for m in said if m["role"] == "assistant")
        self.turns[sum(m["role"] == "assistant" for m in said)] += 1
        self.with_system += said[0]["role"] == "system"
        self.with_tools += bool(record["tools"])
        words = normalized(prompts[0][:200]).split(" ")[:2] if prompts else []
        if len(self.openings) < 1_000_000:
            self.openings[" ".join(words)[:40]] += 1
        self.scripts[main_script(prompts[0][:SCRIPT_CHARS] if prompts else "")] += 1

    def summary(self) -> dict[str, Any]:
        """Return the figures for the page."""
        rows = len(self.prompt_chars)
        return {
            "rows": rows,
            "lengths": [
                _quantiles("prompt (characters)", self.prompt_chars),
                _quantiles("answer (characters)", self.answer_chars),
            ],
            "turns": sorted(self.turns.items())[:12],
            "openings": _ranked(self.openings, 12),
            "distinct_openings": len(self.openings),
            "scripts": _ranked(self.scripts, 8),
            "with_system": self.with_system,
            "with_tools": self.with_tools,
        }


def _ranked(counts: Counter[str], most: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def _quantiles(label: str, values: array) -> dict[str, Any]:
    """Return min, median, 95 % and max; null where there are no values."""
    names = ("min", "median", "p95", "max")
    if not values:
        return {"label": label, **dict.fromkeys(names)}
    points = np.percentile(np.frombuffer(values, dtype=np.int64), [0, 50, 95, 100])
    return {"label": label, **{n: round(float(p)) for n, p in zip(names, points, strict=True)}}


def main_script(text: str) -> str:
    """Return the writing system that most letters of ``text`` belong to, by Unicode's names."""
    scripts = Counter(
        unicodedata.name(char, "UNKNOWN").split(" ")[0].split("-")[0]
        for char in text
        if char.isalpha()
    )
    if not scripts:
        return "no letters"
    name = max(sorted(scripts), key=scripts.__getitem__)
    return {"CJK": "Han"}.get(name, name.capitalize())


def samples(records: Iterable[Mapping[str, Any]], number: int = SAMPLES) -> list[dict[str, Any]]:
    """Return the records with the smallest ids: ids are hashes, so this is a fair draw."""
    return heapq.nsmallest(number, records, key=lambda record: record["id"])


def rejected_samples(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the reasons with their number and first rows, the most frequent first."""
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["stage"], row["step"] or "", row["reason"])
        group = groups.setdefault(key, {"key": key, "rows": 0, "examples": []})
        group["rows"] += 1
        if len(group["examples"]) < REJECTED_PER_REASON:
            group["examples"].append({**row, "raw": shortened(row["raw"] or "")})
    return sorted(groups.values(), key=lambda group: (-group["rows"], group["key"]))


def shortened(text: str, most: int = SHOWN_CHARS) -> str:
    """Return ``text``, cut with a word about it if it is long."""
    return text if len(text) <= most else f"{text[:most]} … [{len(text) - most:,} characters more]"


def all_rows(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rows of several Parquet files one after another."""
    for path in paths:
        yield from read_rows(path)


def histogram(values: array, title: str) -> str | None:
    """Return a histogram as an SVG data URI; None without values.

    Bins are equally wide as ratios where lengths differ much, else one or more whole characters.
    """
    if not values:
        return None
    data = np.maximum(np.frombuffer(values, dtype=np.int64), 1)
    low, high = int(data.min()), int(data.max())
    wide = high >= 4 * low
    if wide:
        edges = np.geomspace(low, high + 1, BINS + 1)
    else:
        step = max(1, -(-(high + 1 - low) // BINS))
        edges = np.arange(low, high + 1 + step, step) - 0.5
    counts, edges = np.histogram(data, bins=edges)
    rows = [
        {"from": float(a), "to": float(b), "rows": int(n), "none": 0}
        for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    return _svg_uri(rows, title, "log" if wide else "linear")


def _svg_uri(rows: list[dict[str, Any]], title: str, scale: str) -> str:
    import altair as alt
    import vl_convert

    chart = (
        alt.Chart(alt.Data(values=rows), width=420, height=160)
        .mark_rect(color="#1f7ac4")
        .encode(
            x=alt.X("from:Q", title=title, scale=alt.Scale(type=scale, nice=False, zero=False)),
            x2="to:Q",
            y=alt.Y("rows:Q", title=None, axis=alt.Axis(tickCount=4, format="~s")),
            y2="none:Q",  # named, or a bar between two x would be a line at the height y
        )
        # Greys that can be read on white and on black: an image doesn't know the page's colours.
        .configure(background="transparent", font="sans-serif")
        .configure_axis(
            labelColor="#808a96",
            titleColor="#808a96",
            gridColor="#80808040",
            domain=False,
            tickColor="#80808080",
            labelFontSize=11,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_view(stroke=None)
    )
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
