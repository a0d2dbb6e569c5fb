"""Text that must not be trained on: replace it by numbered masks, drop its record, or report it.

A mask is ``<KIND_n>``. Within one conversation equal values get equal masks, so that an answer
that repeats the question's address still does. The value itself goes nowhere but into the data
that are kept as they are (``report``): not into counts, sentences or rejected rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sftflow.cleaningstep import Record, Records, Step, with_every_text
from sftflow.stage import StageError

ACTIONS = ("mask", "drop", "report")
MASK = re.compile(r"<([A-Z][A-Z_]*)_(\d+)>")


@dataclass(frozen=True)
class Span:
    """A found value: where it stands in a text, of what kind it is, what makes it the same."""

    start: int
    end: int
    kind: str
    value: str


Find = Callable[[str], Iterable[Span]]


def screened(records: Records, step: Step, find: Find, action: str) -> Records:
    """Yield records after ``action`` (mask, drop or report) on what ``find`` sees in their texts.

    Dropped records are handed on with masks in place of what was found.
    """
    if action not in ACTIONS:
        raise StageError(f"{step.name}: action is {action!r}; expected one of {', '.join(ACTIONS)}")
    for record in records:
        masked, kinds = masked_record(record, find)
        if not kinds:
            yield record
            continue
        step.note(record, kinds)
        if action == "drop":
            listed = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
            step.reject(masked, step.name, f"holds {listed} (masked in rejected.parquet)")
        elif action == "report":
            yield record
        else:
            step.changed += 1
            yield masked


def masked_record(record: Record, find: Find) -> tuple[Record, Counter[str]]:
    """Return ``record`` with masks, and how often each kind was found."""
    kinds: Counter[str] = Counter()
    masks: dict[tuple[str, str], str] = {}
    numbers = _numbers_in_use(record)

    def mask(span: Span) -> str:
        kinds[span.kind] += 1
        key = (span.kind, span.value)
        if key not in masks:
            numbers[span.kind] += 1
            masks[key] = f"<{span.kind.upper()}_{numbers[span.kind]}>"
        return masks[key]

    def masked(text: str) -> str:
        # Again until nothing is left: what overlapped may show only then. A mask is never found.
        while spans := apart(find(text)):
            parts, done = [], 0
            for span in spans:
                parts += [text[done : span.start], mask(span)]
                done = span.end
            text = "".join([*parts, text[done:]])
        return text

    return with_every_text(record, masked), kinds


def _numbers_in_use(record: Record) -> Counter[str]:
    """Return the highest number of each kind of mask that an earlier pass has left."""
    highest: Counter[str] = Counter()
    for message in record["messages"]:
        for text in (message["content"], message["reasoning"], message["tool_calls"]):
            for kind, number in MASK.findall(text) if text and "<" in text else ():
                highest[kind.lower()] = max(highest[kind.lower()], int(number))
    return highest


def apart(spans: Iterable[Span]) -> list[Span]:
    """Return spans in the order of the text; of those that overlap the first found stays."""
    kept: list[Span] = []
    for span in spans:
        if all(span.end <= k.start or k.end <= span.start for k in kept):
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)
