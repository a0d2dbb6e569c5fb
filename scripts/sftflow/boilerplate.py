"""What assistants say before and after an answer: "Sure! Here is ...", "I hope this helps!"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from sftflow.cleaningstep import Records, Step, with_answers
from sftflow.expressiontime import bounded
from sftflow.lists import phrase_form, shipped_list


class Trimmer:
    """Takes openers and closers off an answer, and counts them."""

    def __init__(self, openers: Sequence[str] = (), closers: Sequence[str] = ()) -> None:
        """Take the shipped phrases and these (regular expressions for whole sentences)."""
        shipped = shipped_list("phrases.yaml")
        self.opener = phrase_form(
            [*shipped["openers"], *openers], "boilerplate: openers", r"(?=\s|$|[^\x00-\x7f])\s*"
        )
        closing = phrase_form(
            [*shipped["closers"], *closers], "boilerplate: closers", r"\s*\Z"
        ).pattern
        self.closer = re.compile(rf"(?:(?<=[\n.!?:)`\"'])\s*|(?<=[。！？：]))(?:{closing})", re.I)
        self.found: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        """Return ``text`` without them; as it was if nothing else is in it."""
        plain = text.replace("’", "'")  # as long as the text, so that places are the same
        start, end = 0, len(plain)
        openers = closers = 0
        while found := self.opener.match(plain, start):
            start, openers = found.end(), openers + 1
        while found := self._closing(plain[start:end]):
            end, closers = start + found.start(), closers + 1
        if not openers + closers or not text[start:end].strip():
            return text
        self.found.update(opener=openers, closer=closers)
        return text[start:end].rstrip() if closers else text[start:end]

    def _closing(self, text: str) -> re.Match[str] | None:
        tail = max(0, len(text) - 400)  # a closer is short
        return self.closer.search(text, tail)


def boilerplate(
    records: Records,
    step: Step,
    action: str = "strip",
    openers: Sequence[str] = (),
    closers: Sequence[str] = (),
) -> Records:
    """Strip openers and closers from answers, or drop or report the records that have them."""
    trim = Trimmer(openers, closers)
    for record in records:
        trim.found.clear()
        with bounded(record, step, {"openers": openers, "closers": closers}):
            trimmed = with_answers(record, trim)
        kinds = +trim.found
        if not kinds:
            yield record
            continue
        step.note(record, kinds)
        if action == "drop":
            listed = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
            step.reject(record, "boilerplate", f"the answers have {listed}")
        elif action == "report":
            yield record
        else:
            step.changed += 1
            yield trimmed
