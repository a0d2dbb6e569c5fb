"""What the schema can't say about cleaning steps: scales, regular expressions, request keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

PHRASES = ("phrases", "openers", "closers", "forms")  # options that hold regular expressions
OWN = ("model", "messages", "stream", "n")  # what the judge's requests say by themselves


def cleaning_faults(key: str, steps: list[dict[str, Any]]) -> Iterator[str]:
    """Yield faults of the steps at ``key`` of a config, a sentence each."""
    for number, step in enumerate(steps):
        where = f"{key}[{number}]"
        for option in PHRASES:
            yield from _expressions(f"{where}.{option}", step.get(option, []))
        if step["step"] == "judge":
            yield from _judge(where, step)


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
    if "@" in step["base_url"].split("/")[2]:
        yield f"{key}.base_url: holds a name or password; put the key into an environment variable"
    for name in OWN:
        if name in step["request"]:
            yield f"{key}.request.{name}: is set by the step itself; leave it out"
