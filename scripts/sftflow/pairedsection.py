"""The page's part about models compared row by row: differences, rows that turned, tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow import samples
from sftflow.comparison import Pairs, verdict
from sftflow.direction import direction
from sftflow.forest import drawn_measures, forest
from sftflow.measured import read_object
from sftflow.stage import StageError
from sftflow.summary import Measurement

#: Rows shown of those that lost most, and tags of a table.
MOST_ROWS = 6
MOST_TAGS = 40
#: A tag with fewer rows is marked: of 20, right half of the time, 95 % of figures are 0.3 to 0.7.
FEW_ROWS = 20

PARTS = {"measures", "answers", "turned"}
Said = Mapping[str, Any]  # a result of compare_models


def comparisons_made(
    results: Path, pairs: Iterable[Sequence[str]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what compare_models left about each (model, against) that it looked at."""
    found = {}
    for model, other in pairs:
        path = results / "eval" / model / "against" / f"{other}.json"
        if path.exists():
            found[model, other] = read_object(path)
            if not found[model, other].keys() >= PARTS:
                raise StageError(f"{path} does not have the shape of compare_models; delete it")
    return found


def pairs_of(said: Said | None) -> Pairs:
    """Return the paired differences of a comparison by group and metric."""
    return {(m["group"], m["metric"]): m for m in said["measures"]} if said else {}


def paired_sections(
    results: Path,
    against: Mapping[tuple[str, str], Said],
    bases: Mapping[str, str | None],
    answered: Mapping[str, samples.Rows],
    spec: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, dict]]:
    """Return what the template takes of comparisons and tags, and the plots by id."""
    own, others, plots = all_pairs(against, bases, answered, spec)
    tags = {m: tag_tables(results, base, m) for m, base in bases.items() if base is not None}
    return {"paired": own, "other_pairs": others, "tags": tags}, plots


def all_pairs(
    against: Mapping[tuple[str, str], Said],
    bases: Mapping[str, str | None],
    answered: Mapping[str, samples.Rows],
    spec: Mapping[str, Any],
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]], dict[str, dict]]:
    """Return each tuned model beside its start model, all other pairs, and the plots by id."""
    own: dict[str, dict[str, Any]] = {}
    others, plots = [], {}
    for number, ((model, other), said) in enumerate(against.items(), start=1):
        told, drawn = paired_section(said, f"plot-paired-{number}", answered, spec)
        plots |= drawn
        if bases.get(model) == other:
            own[model] = told
        else:
            others.append(told)
    return own, others, plots


def paired_section(
    said: Said,
    id_: str,
    answered: Mapping[str, samples.Rows],
    spec: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, dict]]:
    """Return what the page says of one comparison, and its plot by id."""
    model, other = said["model"], said["against"]
    measures = [_measure(pair) for pair in said["measures"]]
    drawn = drawn_measures(measures)
    alike = [(name, one["identical"], one["n"]) for name, one in said["answers"].items()]
    both = {name: answered[name] for name in (other, model) if name in answered}
    told = {
        "model": model,
        "against": other,
        "measures": measures,
        "plot": id_ if drawn else None,
        "alike": [line for line in alike if line[2]],
        "turned": [
            {"set": name, **one, "samples": _lost_rows(name, one, both, spec)}
            for name, one in said["turned"].items()
        ],
    }
    return told, {id_: forest(drawn)} if drawn else {}


def _measure(pair: Mapping[str, Any]) -> dict[str, Any]:
    """Return a paired difference as the plot and the table show it."""
    group, metric = pair["group"], pair["metric"]
    sides = [Measurement(side, "", group, metric, pair[side]) for side in ("against", "model")]
    name = metric if group == "scores" else f"{metric} ({group})"
    said = verdict(group, metric, *sides, pair)
    return {"measure": name, "direction": direction(group, metric), "verdict": said, "pair": pair}


def _lost_rows(
    name: str, turned: Mapping[str, Any], both: Mapping[str, samples.Rows], spec: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the rows of a set that lost most, with both answers."""
    if spec["redact_samples"]:
        return []
    places = [(name, row["id"]) for row in turned["rows"][:MOST_ROWS]]
    known = [place for place in places if any(place in rows for rows in both.values())]
    return [samples.sample(place, both, spec["sample_chars"]) for place in known]


def tag_tables(results: Path, base: str, model: str) -> list[dict[str, Any]]:
    """Return a table per dataset that has tags: each tag's rows and scores, of base and tuned.

    Only of measures that can be better; tags with most rows first.
    """
    before, after = (_tags(results, name) for name in (base, model))
    tables = []
    for name, tags in after.items():
        metrics = [
            metric
            for metric in dict.fromkeys(m for scores in tags.values() for m in scores)
            if direction("scores", f"{name}.{metric}") and ".json_fields." not in f".{metric}"
        ]
        rows = [
            {
                "tag": tag,
                "n": max(score["n"] for score in scores.values()),
                "pairs": [
                    (before.get(name, {}).get(tag, {}).get(metric), scores.get(metric))
                    for metric in metrics
                ],
            }
            for tag, scores in tags.items()
        ]
        rows.sort(key=lambda row: (-row["n"], row["tag"]))
        shown = [{**row, "few": row["n"] < FEW_ROWS} for row in rows[:MOST_TAGS]]
        left_out = len(rows) - len(shown)
        tables.append({"set": name, "metrics": metrics, "rows": shown, "left_out": left_out})
    return tables


def _tags(results: Path, model: str) -> Mapping[str, Any]:
    path = results / "eval" / model / "scores.json"
    return read_object(path).get("tags", {}) if path.exists() else {}
