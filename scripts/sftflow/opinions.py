"""What judges and people think of the models, as rows of the summary.

reads   results/judged/{judge}/{pair}/win_rate.json, results/people/{sheet}/ratings.json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sftflow.measured import number, read_object
from sftflow.stage import StageError
from sftflow.summary import Measurement


def win_rates(results: Path, spec: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder and the win_rate.json of each pair that was judged."""
    for judge, pairs in spec.get("judges", {}).items():
        for pair in pairs:
            folder = results / "judged" / judge / pair["pair"]
            if (folder / "win_rate.json").exists():
                yield folder, read_object(folder / "win_rate.json")


def ratings(results: Path, spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the ratings.json of each sheet that somebody has filled."""
    for sheet in spec.get("people", []):
        path = results / "people" / sheet / "ratings.json"
        if path.exists():
            yield read_object(path)


def opinion_rows(results: Path, spec: Mapping[str, Any]) -> list[Measurement]:
    """Return win rates (group judged) and mean scores by people (group people) for the summary."""
    kinds = {model["name"]: model["kind"] for model in spec["models"]}
    rows = []
    try:
        for _, said in win_rates(results, spec):
            one, other = said["models"]
            rate, metric = said["all"]["win_rate"], f"{said['judge']}.win_rate[{other}]"
            rows.append(_row(one, kinds, "judged", metric, rate))
        for said in ratings(results, spec):
            for model, criteria in said["models"].items():
                for name, mean in criteria.items():
                    rows.append(_row(model, kinds, "people", f"{said['sheet']}.{name}", mean))
    except (KeyError, TypeError, ValueError) as error:
        raise StageError(
            f"a file under {results}/judged or {results}/people does not have the shape that its "
            f"stage writes ({type(error).__name__}: {error}); delete these folders and rerun"
        ) from None
    return rows


def _row(
    model: str, kinds: Mapping[str, str], group: str, metric: str, said: Mapping[str, Any]
) -> Measurement:
    value, stderr = number(said["value"]), number(said["stderr"])
    return Measurement(model, kinds[model], group, metric, value, stderr, said["n"])
