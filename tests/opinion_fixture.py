"""What judges and people left about the models of report_fixture, and examples in a prompt."""

from __future__ import annotations

import json
from pathlib import Path

import read_sheets
from report_fixture import PLANTED, SPEC, write_results
from sftflow.sheets import CRITERIA
from sftflow.winrates import figures, settled

MODELS = ["support", "tiny"]
PAIR = "support.vs.tiny"
OPINIONS = {
    **SPEC,
    "in_context": [
        {
            "name": "tiny+icl4",
            "kind": "base",
            "base": "tiny",
            "examples": 4,
            "suites": [],
            "datasets": ["tickets"],
        }
    ],
    "judges": {"mild": [{"pair": PAIR, "models": MODELS}]},
    "people": ["panel"],
}


def write_opinions(results: Path) -> Path:
    """Write the folder of report_fixture with opinions in it; return it."""
    write_results(results)
    _in_context(results)
    _verdicts(results / "judged" / "mild" / PAIR)
    _ratings(results / "people" / "panel")
    return results


def _in_context(results: Path) -> None:
    folder = results / "eval" / "tiny+icl4"
    folder.mkdir()
    share = {"value": 0.41, "stderr": 0.035, "n": 200}
    scores = {"exact_match": share, "json_valid": {**share, "value": 0.9}}
    (folder / "scores.json").write_text(json.dumps({"sets": {"tickets": scores}}))
    shown = [{"examples": ["x"] * (4 if i else 2)} for i in range(30)]
    (folder / "generations.jsonl").write_text("".join(json.dumps(r) + "\n" for r in shown))


def _verdicts(folder: Path) -> None:
    folder.mkdir(parents=True)
    kinds = [("first", "second")] * 20 + [("second", "first")] * 4 + [("first", "first")] * 10
    rows = []
    for number, places in enumerate([*kinds, ("tie", None), (None, None)]):
        winner = settled(places, MODELS)
        rows.append(
            {
                "set": "tickets" if number % 3 else "prompts",
                "id": str(number),
                "outcome": "judged" if winner else "unreadable",
                "winner": winner,
                "messages": [{"role": "user", "content": f"{PLANTED} {number}"}],
                "reference": None,
                "answers": {MODELS[0]: f"good {PLANTED}", MODELS[1]: "bad"},
                "chars": {MODELS[0]: 30 - number, MODELS[1]: 15},
                "asked": [
                    {"verdict": place, "reply": f"I think so. {PLANTED}", "request": "0" * 32}
                    for place in places
                ],
            }
        )
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = {name: [row for row in rows if row["set"] == name] for name in ("tickets", "prompts")}
    result = {
        "judge": "mild",
        "judge_model": "large",
        "models": MODELS,
        "judges_itself": True,
        "sets": {name: figures(some, MODELS) for name, some in sets.items()},
        "all": figures(rows, MODELS),
        "used": {"requests": 72},
    }
    (folder / "win_rate.json").write_text(json.dumps(result))


def _ratings(folder: Path) -> None:
    folder.mkdir(parents=True)
    items = {
        f"{number:02}{model}": {"set": "t", "id": str(number), "models": [model]}
        for number in range(8)
        for model in MODELS
    }
    (folder / "key.json").write_text(json.dumps({"sheet": "panel", "items": items}))
    for number, rater in enumerate(("ann", "bob")):
        ratings = [
            {
                "item": item,
                **dict.fromkeys(CRITERIA, 2 + 2 * ("sup" in item) + (i % (2 + number) == 0)),
            }
            for i, item in enumerate(items)
        ]
        said = {"rater": rater, "ratings": ratings}
        (folder / f"{rater}.json").write_text(json.dumps(said))
    spec = {"sheet": "panel", "models": MODELS, "pairs": [MODELS]}
    spec["filled"] = [str((folder / f"{rater}.json").resolve()) for rater in ("ann", "bob")]
    argv = ["--spec", json.dumps(spec), "--key", str(folder / "key.json")]
    read_sheets.main([*argv, "--ratings", str(folder / "ratings.json")])
