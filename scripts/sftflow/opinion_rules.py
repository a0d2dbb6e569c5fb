"""What a schema can't say of judges and of sheets: models that answer, prompts that can be read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from sftflow.judgeprompts import read_template
from sftflow.making_rules import bound_faults, endpoint_faults
from sftflow.plan import judged_pairs, model_datasets, models


def opinion_faults(config: dict, root: Path) -> Iterator[str]:
    """Yield the faults of judges.* and people.*, as sentences; references of runs are sound."""
    for name, judge in config["judges"].items():
        key = f"judges.{name}"
        yield from endpoint_faults(config, key, judge)
        yield from bound_faults(key, judge)
        yield from _prompt_faults(f"{key}.prompt", judge["prompt"], root)
        for number, pair in enumerate(judge["pairs"] or []):
            yield from _unanswered(config, f"{key}.pairs[{number}]", pair)
            yield from _apart(config, f"{key}.pairs[{number}]", pair)
        if not judged_pairs(config, name):
            yield f"{key}: there is no measured run to compare with its base; name pairs"
    for name, sheet in config["people"].items():
        yield from _unanswered(config, f"people.{name}.models", sheet["models"] or [])
        for path in sheet["filled"]:
            if not (root / path).is_file():
                yield f"people.{name}.filled: there is no file {root / path}"
            elif Path(path).suffix.lower() not in (".csv", ".json"):
                yield f"people.{name}.filled: {path} is neither .csv nor .json"


def _prompt_faults(key: str, path: str | None, root: Path) -> Iterator[str]:
    if path is None:
        return
    if not (root / path).is_file():
        yield f"{key}: there is no file {root / path}"
        return
    try:
        read_template(root / path)
    except ValueError as error:
        yield f"{key}: {root / path} {error}"


def _unanswered(config: dict, key: str, names: list[str]) -> Iterator[str]:
    known = models(config)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(known)}"
            yield f"{key}: there is no measured model '{name}'; {hint}"


def _apart(config: dict, key: str, pair: list[str]) -> Iterator[str]:
    """Two models that answer no prompt in common."""
    if config["generation"]["prompts"] is not None or not set(pair) <= set(models(config)):
        return
    one, other = (set(model_datasets(config, name)) for name in pair)
    if not one & other:
        yield f"{key}: {' and '.join(pair)} answer no prompts in common; name generation.prompts"
