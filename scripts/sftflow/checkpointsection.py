"""The report's part on answers in the middle of a training: their scores, and how they change."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.answers import read_jsonl
from sftflow.plots import CONFIG, TUNED_COLORS
from sftflow.samples import showable, spread
from sftflow.stage import StageError

STEPS_SHOWN = 5  # evaluations of which answers are shown: the first, the last, some between
ANSWERS_SHOWN = 8  # per run, fixed prompts first
BESIDE = ("eval_loss",)  # columns of history.csv that begin as those of metrics do


def checkpoint_section(
    results: Path,
    runs: Iterable[str],
    known: Mapping[str, Mapping[str, Any]],
    chars: int,
    redact: bool,
) -> tuple[list[dict[str, Any]], dict[str, dict]]:
    """Return what is shown of each run that answered at its evaluations, and plots by id.

    ``known`` are the manifests; texts are cut after ``chars``, and left out if ``redact``.
    """
    said, drawn = [], {}
    for run in runs:
        path = results / "runs" / run / "samples" / "answers.jsonl"
        if not path.exists():
            continue
        metrics, rows = scores_by_step(results / "runs" / run / "history.csv")
        counts = known.get(f"runs/{run}", {}).get("counts", {})
        id_ = f"plot-checkpoints-{len(said) + 1}"
        points = [(row["step"], name, row[name]) for row in rows for name in metrics]
        points = [p for p in points if p[2] is not None]
        shares = {name for name in metrics if all(0 <= v <= 1 for _, n, v in points if n == name)}
        points = [p for p in points if p[1] in shares]
        if points and len(rows) > 1:
            drawn[id_] = metric_curves(points, counts.get("kept_step"))
        said.append(
            {
                "run": run,
                "metrics": metrics,
                "rows": rows,
                "kept": counts.get("kept_step"),
                "by": counts.get("best_by", "validation loss"),
                "plot": id_ if id_ in drawn else None,
                "samples": [] if redact else answers_by_step(path, chars),
            }
        )
    return said, drawn


def scores_by_step(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Return a history's metrics of answers and, per evaluation, {step, eval_loss, metric ...}."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns = [c for c in reader.fieldnames or () if c.startswith("eval_") and c not in BESIDE]
        names = {column: column.removeprefix("eval_") for column in columns}
        try:
            rows = [
                {"step": int(cells["step"]), "eval_loss": float(cells["eval_loss"])}
                | {name: float(cells[c]) if cells[c] else None for c, name in names.items()}
                for cells in reader
                if cells["eval_loss"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise StageError(f"{path}, line {reader.line_num}: {error}; delete it") from None
    return list(names.values()), rows


def answers_by_step(path: Path, chars: int) -> list[dict[str, Any]]:
    """Return some prompts with the answers of some steps, as samples of the page."""
    asked: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    try:
        for row in read_jsonl(path):
            asked.setdefault((row["set"], str(row["id"])), {})[int(row["step"])] = row
        places = sorted(asked, key=lambda place: place[0] != "prompts")
        fixed = [place for place in places if place[0] == "prompts"][:ANSWERS_SHOWN]
        others = places[len([p for p in places if p[0] == "prompts"]) :]
        chosen = fixed + [others[i] for i in spread(len(others), ANSWERS_SHOWN - len(fixed))]
        return [_sample(place, asked[place], chars) for place in chosen]
    except (KeyError, TypeError, ValueError) as error:
        raise StageError(f"{path} has a row without {error}; delete it and rerun") from None


def _sample(
    place: tuple[str, str], by_step: Mapping[int, Mapping[str, Any]], chars: int
) -> dict[str, Any]:
    steps = sorted(by_step)
    shown = [steps[i] for i in spread(len(steps) - 1, STEPS_SHOWN - 1)] + steps[-1:]
    last = by_step[steps[-1]]
    reference = last["reference"]
    return {
        "set": showable(place[0]),
        "id": showable(place[1], 80),
        "prompt": showable(last["prompt"], chars),
        "reference": None if reference is None else showable(reference, chars),
        "answers": [
            {
                "model": f"step {step}",
                "text": showable(by_step[step]["answer"], chars),
                "match": None
                if reference is None
                else by_step[step]["answer"].strip() == reference.strip(),
                "cut": by_step[step]["finish_reason"] == "length",
                "too_long": False,
            }
            for step in shown
        ],
    }


def metric_curves(points: Sequence[tuple[int, str, float]], kept: int | None) -> dict:
    """Return scores from 0 to 1 over steps, points of (step, metric, value), the kept step marked.

    Field names are fixed; names of metrics are values.
    """
    import altair as alt

    rows = [{"step": s, "metric": name, "value": value} for s, name, value in points]
    names = sorted({name for _, name, _ in points})
    colors = [TUNED_COLORS[i % len(TUNED_COLORS)] for i in range(len(names))]
    x = alt.X("step:Q", title="optimizer step", axis=alt.Axis(grid=False))
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=x,
        y=alt.Y("value:Q", title="score", scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("metric:N", scale=alt.Scale(domain=names, range=colors)),
        tooltip=[
            alt.Tooltip("step:Q"),
            alt.Tooltip("metric:N"),
            alt.Tooltip("value:Q", title="score", format=".3f"),
        ],
    )
    layers = [base.mark_line(), base.mark_point()]
    if kept is not None:
        mark = alt.Chart(alt.Data(values=[{"step": kept}]))
        layers.insert(0, mark.mark_rule(color="#7c8798", strokeDash=[5, 3]).encode(x=x))
    spec = alt.layer(*layers).properties(width="container", height=200).to_dict()
    return {**spec, "config": CONFIG}
