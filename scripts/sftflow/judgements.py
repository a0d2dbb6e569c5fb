"""The verdicts on the runs as the page shows them: a badge each, a sentence, its figures."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from sftflow.figures import figure
from sftflow.measured import read_object
from sftflow.stage import StageError

Judgements = Mapping[str, Mapping[str, Any]]  # run -> its verdicts.json


def judgements(results: Path, runs: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the verdicts.json of each run that has one."""
    found = {}
    for run in runs:
        path = results / "runs" / run / "verdicts.json"
        if path.exists():
            found[run] = read_object(path)
            if not {"verdicts", "notes", "best_step", "turned_at"} <= found[run].keys():
                raise StageError(f"{path} does not have the shape of judge_run; delete it")
    return found


def shown(judged: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a run's badges with their sentences, and what looks like a fault and is none."""
    if judged is None:
        return {"verdicts": [], "notes": []}
    told = [
        {
            "name": said["name"].replace("_", " "),
            "way": "better" if said["name"] == "healthy" else "worse",
            "sentence": said["sentence"],
            "advice": said["advice"],
            "figures": [
                (name.replace("_", " "), figure(value))
                for name, value in said["evidence"].items()
                if value is not None
            ],
        }
        for said in judged["verdicts"]
    ]
    return {"verdicts": told, "notes": judged["notes"]}


def findings(judged: Mapping[str, Any] | None, told: Container[str] = ()) -> list[dict[str, str]]:
    """Return a line of the first screen for each fault of a training but those ``told``."""
    return [
        {"verdict": "worse", "text": f"Training: {said['name']}. {said['sentence']}"}
        for said in shown(judged)["verdicts"]
        if said["way"] == "worse" and said["name"].replace(" ", "_") not in told
    ]


def mark(judged: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what marks the best step in a loss curve, {step, text, turned}; None without one."""
    if judged is None or judged["best_step"] is None:
        return None
    turned = judged["turned_at"] is not None
    step = judged["turned_at"] if turned else judged["best_step"]
    said = "validation loss rises\nfrom" if turned else "lowest validation loss\nat"
    return {"step": step, "text": f"{said} step {step}", "turned": turned}
