"""The page's section on trainings on preference pairs: what they learned, and its course."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.measured import read_object
from sftflow.plots import BASE_COLORS, CONFIG, TUNED_COLORS
from sftflow.stage import StageError

#: Columns of history.csv, without eval_, and how their plots are called.
DRAWN = {"reward_margin": "reward margin", "reward_accuracy": "pairs ranked right"}
CURVES = {"": "training", "eval_": "validation"}


def preference_section(
    results: Path, spec: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, dict]]:
    """Return a line per run on pairs, with what was measured of it, and its plots by id."""
    said, drawn = [], {}
    for run, entry in spec["runs"].items():
        path = results / "runs" / run / "preferences.json"
        if entry.get("dpo") is None or not path.exists():
            continue
        course = curves(results / "runs" / run / "history.csv")
        ids = [f"plot-preferences-{len(said)}-{number}" for number in range(len(DRAWN))]
        plots = zip(ids, DRAWN.items(), strict=True)
        drawn |= {id_: curve_plot(course[column], title) for id_, (column, title) in plots}
        said.append(
            {
                "run": run,
                "base": entry["base"],
                "dpo": {key: value for key, value in entry["dpo"].items() if value is not None},
                "plots": list(zip(ids, DRAWN.values(), strict=True)),
                **read_object(path),
            }
        )
    return said, drawn


def preference_findings(
    said: Sequence[Mapping[str, Any]], models: Sequence[Mapping[str, Any]], model: str
) -> list[dict[str, str]]:
    """Return a line of the first screen: how many pairs a model of a run on pairs ranks right.

    Without it a reader sees there that the loss on preferred answers rose, which is usual.
    """
    run = next((m["run"] for m in models if m["name"] == model), None)
    found = []
    for one in said:
        if one["run"] != run or not one["pairs"]:
            continue
        accuracy, margin = one["reward_accuracy"]["value"], one["reward_margin"]["value"]
        text = (
            f"Against {one['base']}, its reference, {accuracy:.0%} of {one['pairs']} validation "
            f"pairs are ranked right, by a margin of {margin:.3g} nats."
        )
        found.append({"verdict": "plain", "text": text})
    return found


def curves(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return for each column of DRAWN its points {step, curve, value} in a history.csv.

    Raises StageError naming the line that can't be read.
    """
    found: dict[str, list[dict[str, Any]]] = {column: [] for column in DRAWN}
    with path.open(encoding="utf-8", newline="") as file:
        for line, cells in enumerate(csv.DictReader(file), start=2):
            for column, points in found.items():
                for prefix, curve in CURVES.items():
                    if not cells.get(f"{prefix}{column}"):
                        continue
                    try:
                        step, value = int(float(cells["step"])), float(cells[f"{prefix}{column}"])
                    except (KeyError, TypeError, ValueError) as error:
                        raise StageError(f"{path}, line {line}: {error}; delete it") from None
                    points.append({"step": step, "curve": curve, "value": value})
    return found


def curve_plot(points: list[dict[str, Any]], title: str) -> dict:
    """Return a figure over the steps: a line for training, one with dots for validation."""
    import altair as alt

    domain = list(CURVES.values())
    scale = alt.Scale(domain=domain, range=[BASE_COLORS[0], TUNED_COLORS[0]])
    encoding = {
        "x": alt.X("step:Q", title="optimizer step", axis=alt.Axis(grid=False)),
        "y": alt.Y("value:Q", title=title),
        "color": alt.Color("curve:N", scale=scale),
        "tooltip": [
            alt.Tooltip("curve:N", title="curve"),
            alt.Tooltip("step:Q", title="step"),
            alt.Tooltip("value:Q", title=title, format=".4f"),
        ],
    }
    base = alt.Chart(alt.Data(values=points))
    dots = base.transform_filter("datum.curve == 'validation'").mark_point().encode(**encoding)
    chart = alt.layer(base.mark_line(clip=True).encode(**encoding), dots)
    return {**chart.properties(width="container", height=200).to_dict(), "config": CONFIG}
