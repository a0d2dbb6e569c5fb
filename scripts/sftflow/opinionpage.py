"""The page's part about judges and people: win rates, biases, some verdicts, mean scores.

reads   results/judged/{judge}/{pair}/win_rate.json and verdicts.jsonl,
        results/people/{sheet}/ratings.json
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow import opinionplots
from sftflow.answers import read_jsonl
from sftflow.figures import percent
from sftflow.opinions import ratings, win_rates
from sftflow.prompttext import prompt_text
from sftflow.samples import showable
from sftflow.sheets import CRITERIA

SHOWN = 6  # verdicts on the page, of each pair
TELLING = 0.05  # share of unreadable replies from which the page warns
EVEN = 0.5  # win rate of equals, and share of the first place for a fair judge


def opinion_section(
    results: Path, spec: Mapping[str, Any], colors: Mapping[str, str]
) -> tuple[dict[str, list], dict[str, dict]]:
    """Return what the page says of judges and people, and its plots by id."""
    judged, people, drawn = [], [], {}
    for number_, (folder, said) in enumerate(win_rates(results, spec), start=1):
        id_ = f"plot-judged-{number_}"
        sets = {**said["sets"], **({"all": said["all"]} if len(said["sets"]) > 1 else {})}
        if said["all"]["n"]:
            drawn[id_] = opinionplots.win_bars(sets, said["models"], colors)
        judged.append(
            {
                **{key: said[key] for key in ("judge", "judge_model", "models")},
                "plot": id_ if id_ in drawn else None,
                "sets": sets,
                "notes": bias_notes(said),
                "samples": [] if spec["redact_samples"] else _verdicts(folder, spec),
            }
        )
    for number_, said in enumerate(ratings(results, spec), start=1):
        id_ = f"plot-people-{number_}"
        models = [model for model in colors if model in said["models"]]
        scores = {model: said["models"][model] for model in models}
        drawn[id_] = opinionplots.score_dots(scores, colors)
        people.append({**said, "plot": id_, "names": models, "criteria": list(CRITERIA)})
    return {"judged": judged, "people": people}, drawn


def judge_findings(results: Path, spec: Mapping[str, Any], model: str) -> list[dict[str, str]]:
    """Return a line of the first screen for each judge that compared ``model`` with another."""
    found = []
    for _, said in win_rates(results, spec):
        rate = said["all"]["win_rate"]
        if said["models"][0] != model or not rate["n"]:
            continue
        way = "better" if rate["low"] > EVEN else "worse" if rate["high"] < EVEN else ""
        text = (
            f"Judge {said['judge']}: win rate {percent(rate['value'])} "
            f"[{percent(rate['low'])}, {percent(rate['high'])}] against {said['models'][1]} "
            f"on {rate['n']:,} prompts."
        )
        found.append({"verdict": way, "text": text})
    return found


def bias_notes(said: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return sentences on how far a judge can be believed, {way, text}; way is worse or ""."""
    every, place, length = said["all"], said["all"]["position"], said["all"]["length"]
    notes = []
    if said["judges_itself"]:
        notes.append(_worse("The judge is one of the two models; judges favour their own answers."))
    if every["unreadable"] or every["no_reply"]:
        lost = every["unreadable"] + every["no_reply"]
        text = (
            f"{lost:,} of {every['rows']:,} pairs have no verdict: {every['unreadable']:,} replies "
            f"without one, {every['no_reply']:,} without a reply."
        )
        much = lost > TELLING * every["rows"]
        notes.append(_worse(text) if much else {"way": "", "text": text})
    if place["consistent"]["n"]:
        text = (
            f"Both orders gave the same verdict on {percent(place['consistent']['value'])} of "
            f"{place['consistent']['n']:,} pairs; on {percent(place['first']['value'])} the judge "
            f"chose what stood first both times, on {percent(place['second']['value'])} what stood "
            "second. What differs counts as a tie."
        )
        notes.append({"way": "", "text": text})
    if _uneven(place["first_place"]):
        text = (
            f"Position bias: of the single verdicts for a side, "
            f"{percent(place['first_place']['value'])} were for the first place."
        )
        notes.append(_worse(text))
    notes += _length_notes(length, said["models"])
    if every["identical"]:
        text = f"{every['identical']:,} pairs were equal answers: ties that nobody was asked about."
        notes.append({"way": "", "text": text})
    return notes


def _length_notes(length: Mapping[str, Any], models: Sequence[str]) -> list[dict[str, str]]:
    longer, when = length["longer_wins"], (length["rate_when_longer"], length["rate_when_shorter"])
    if not longer["n"]:
        return []
    text = (
        f"The longer answer won {percent(longer['value'])} of {longer['n']:,} decided pairs. "
        f"{models[0]} has a win rate of {percent(when[0]['value'])} where its answer is the longer "
        f"one ({when[0]['n']:,} pairs) and of {percent(when[1]['value'])} where it is the shorter "
        f"({when[1]['n']:,})."
    )
    known = all(rate["n"] for rate in when)
    apart = known and (when[0]["low"] > when[1]["high"] or when[1]["low"] > when[0]["high"])
    return [_worse(f"Length bias: {text}") if apart else {"way": "", "text": text}]


def _uneven(share: Mapping[str, Any]) -> bool:
    return bool(share["n"]) and not share["low"] <= EVEN <= share["high"]


def _worse(text: str) -> dict[str, str]:
    return {"way": "worse", "text": text}


def _verdicts(folder: Path, spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return some verdicts to read: of each outcome in turn, as long as there are any."""
    kinds: dict[tuple[str, str | None], list[Mapping[str, Any]]] = {}
    for row in read_jsonl(folder / "verdicts.jsonl"):
        if row["outcome"] != "identical":
            kinds.setdefault((row["outcome"], row["winner"]), []).append(row)
    chosen: list[Mapping[str, Any]] = []
    while any(kinds.values()) and len(chosen) < SHOWN:
        chosen += [rows.pop(0) for rows in kinds.values() if rows]
    chars = spec["sample_chars"]
    return [
        {
            "set": showable(row["set"]),
            "id": showable(str(row["id"]), 80),
            "prompt": showable(prompt_text(row), chars),
            "answers": [
                (model, None if text is None else showable(text, chars))
                for model, text in row["answers"].items()
            ],
            "winner": row["winner"],
            "outcome": row["outcome"],
            "replies": [
                (place, asked["verdict"], showable(asked["reply"], chars))
                for place, asked in zip(row["answers"], row["asked"], strict=False)
            ],
        }
        for row in chosen[:SHOWN]
    ]
