"""Answers of several models to the same prompts, laid side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.answers import read_jsonl
from sftflow.pagetemplates import visible
from sftflow.prompttext import prompt_text
from sftflow.stage import StageError


def showable(text: str, limit: int | None = None) -> str:
    """Return ``text`` with unshowable characters as U+FFFD, cut to ``limit`` characters."""
    text = visible(text)
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]} [+{len(text) - limit:,} characters]"


def spread(count: int, wanted: int) -> list[int]:
    """Return ``wanted`` indices spread evenly over ``range(count)``, or all of them."""
    if count <= wanted:
        return list(range(count))
    return [i * count // wanted for i in range(wanted)]


Rows = Mapping[tuple[str, str], Mapping[str, Any]]  # (set, id) -> generated row


def generations(results: Path, models: Sequence[Mapping[str, Any]]) -> dict[str, Rows]:
    """Return each model's answers by set and id, for the models that have any."""
    found = {}
    for model in models:
        path = results / "eval" / model["name"] / "generations.jsonl"
        if path.exists():
            try:
                found[model["name"]] = {(r["set"], str(r["id"])): r for r in read_jsonl(path)}
            except KeyError as error:
                raise StageError(f"{path} has a row without {error}; delete it and rerun") from None
    return found


def mean_tokens(rows: Rows) -> float | None:
    """Return the mean number of generated tokens, None where it was not kept."""
    counts = [row["completion_tokens"] for row in rows.values() if row.get("completion_tokens")]
    return sum(counts) / len(counts) if counts else None


def side_by_side(
    answered: Mapping[str, Rows], wanted: int, chars: int
) -> tuple[list[dict[str, Any]], int]:
    """Return up to ``wanted`` prompts with every model's answer, and how many there are."""
    places: dict[str, list[tuple[str, str]]] = {}
    for rows in answered.values():
        for place in rows:
            known = places.setdefault(place[0], [])
            known.append(place)
    sets = {name: list(dict.fromkeys(found)) for name, found in places.items()}
    total = sum(len(found) for found in sets.values())
    each = max(1, wanted // max(1, len(sets)))
    chosen = [found[i] for found in sets.values() for i in spread(len(found), each)]
    return [sample(place, answered, chars) for place in chosen], total


def sample(place: tuple[str, str], answered: Mapping[str, Rows], chars: int) -> dict[str, Any]:
    """Return one prompt (set, id) with every model's answer; some model answered it."""
    rows = {model: found.get(place) for model, found in answered.items()}
    one = next(row for row in rows.values() if row is not None)
    reference = one.get("reference")
    return {
        "set": showable(place[0]),
        "id": showable(place[1], 80),
        "prompt": showable(prompt_text(one), chars),
        "reference": None if reference is None else showable(str(reference), chars),
        "answers": [_answer(model, row, reference, chars) for model, row in rows.items()],
    }


def _answer(
    model: str, row: Mapping[str, Any] | None, reference: Any, chars: int
) -> dict[str, Any]:
    text = None if row is None else row.get("answer")
    known = text is not None and reference is not None
    return {
        "model": model,
        "text": None if text is None else showable(str(text), chars),
        "match": str(text).strip() == str(reference).strip() if known else None,
        "cut": row is not None and row.get("finish_reason") == "length",
        "too_long": row is not None and row.get("finish_reason") == "prompt_too_long",
    }
