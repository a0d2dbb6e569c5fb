"""What the schema can't say about cleaning steps: scales, expressions, request keys, models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sftflow.addresses import address_faults
from sftflow.embeddingfolders import check_embedding_folder
from sftflow.generators import served_faults, served_judges
from sftflow.hub import COMMIT
from sftflow.stage import StageError

PHRASES = ("phrases", "openers", "closers", "forms")  # options that hold regular expressions
BETWEEN = (("min_answer_chars", "max_answer_chars"), ("min_turns", "max_turns"))
OWN = ("model", "messages", "stream", "n")  # what the judge's requests say by themselves
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def cleaning_faults(config: dict, dataset: str, root: Path) -> Iterator[str]:
    """Yield faults of a dataset's steps, of a config in the folder ``root``, a sentence each."""
    key, steps = f"datasets.{dataset}.clean", config["datasets"][dataset]["clean"]
    judges = served_judges(steps)
    if len(judges) > 1:
        yield (
            f"{key}: {' and '.join(judges)} are both to judge, and one server at a time is started "
            "for a cleaning; leave one out, or give it base_url"
        )
    for number, step in enumerate(steps):
        where = f"{key}[{number}]"
        for option in PHRASES:
            yield from _expressions(f"{where}.{option}", step.get(option, []))
        yield from _bounds(where, step)
        if step["step"] == "judge":
            yield from _judge(where, step)
            if step["base_url"] is None:
                yield from served_faults(config, where, step["model"], step["api_key_env"])
        if step["step"] == "semantic_duplicates":
            yield from _embedding_model(where, step["model"], step["revision"], root)


def _bounds(key: str, step: dict[str, Any]) -> Iterator[str]:
    """Faults of bounds that no row, or no text, is within."""
    for low, high in BETWEEN:
        if step.get(low) is not None and step.get(high) is not None and step[low] > step[high]:
            yield f"{key}.{low}: {step[low]} is more than {high}, {step[high]}: every row would go"
    for number, token in enumerate(step.get("tokens", [])):
        if not token.strip():
            yield f"{key}.tokens[{number}]: {token!r} is white space, which is in every text"
    if step.get("countries") and "phone" not in step["kinds"]:
        yield f"{key}.countries: is for phone numbers; add phone to kinds, or leave it out"


def _expressions(key: str, phrases: list[str]) -> Iterator[str]:
    for number, phrase in enumerate(phrases):
        try:
            form = re.compile(phrase)
        except re.error as error:
            yield f"{key}[{number}]: {phrase!r} is no regular expression: {error}"
            continue
        if form.match(""):
            yield f"{key}[{number}]: {phrase!r} matches no text at all, and so every text"


def _judge(key: str, step: dict[str, Any]) -> Iterator[str]:
    low, high = step["scale"]
    if low >= high:
        yield f"{key}.scale: the lowest score {low:g} must be less than the highest {high:g}"
    elif not low <= step["min_score"] <= high:
        yield f"{key}.min_score: {step['min_score']:g} is not within the scale {low:g} to {high:g}"
    yield from address_faults(f"{key}.base_url", step["base_url"])
    for name in OWN:
        if name in step["request"]:
            yield f"{key}.request.{name}: is set by the step itself; leave it out"


def _embedding_model(key: str, model: str, revision: str | None, root: Path) -> Iterator[str]:
    if revision is None:
        try:
            check_embedding_folder(root / model)
        except StageError as error:
            yield f"{key}.model: {error}"
    elif not COMMIT.fullmatch(revision):
        yield f"{key}.revision: {revision!r} is no commit; give its 40 hex digits"
    elif not HUB_ID.fullmatch(model):
        yield f"{key}.revision: stands beside {model!r}, which is no hub id (owner/name)"
    elif (root / model).is_dir():
        yield f"{key}.revision: stands beside a folder, {root / model}; leave it out"
