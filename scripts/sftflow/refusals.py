"""Answers that are nothing but a refusal."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sftflow.cleaningstep import Records, Step
from sftflow.expressiontime import bounded
from sftflow.lists import phrase_form, shipped_list

# A sentence ends at . ! ? before white space, at a Chinese full stop, or at a line's end.
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[。！？])|\n+")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, without blank ones."""
    return [part.strip() for part in SENTENCE_END.split(text) if part and part.strip()]


def refusal_test(phrases: Sequence[str] = ()) -> Callable[[str], bool]:
    """Return a function that says whether each sentence refuses, or gives nothing after that."""
    shipped = shipped_list("phrases.yaml")
    refuses = phrase_form([*shipped["refusals"], *phrases], "refusals: phrases")
    empty = phrase_form([*shipped["after_refusal"], *shipped["closers"]], "phrases.yaml")

    def is_refusal(text: str) -> bool:
        said = sentences(text.replace("’", "'"))
        refused = [bool(refuses.match(sentence)) for sentence in said]
        if not any(refused[:2]):  # the first, but for an "I'm sorry."
            return False
        start = refused.index(True)
        rest = said[start + 1 :]
        before = all(len(sentence) <= 40 for sentence in said[:start])
        return before and all(refuses.match(s) or empty.match(s) for s in rest)

    return is_refusal


def refusals(
    records: Records, step: Step, action: str = "drop", phrases: Sequence[str] = ()
) -> Records:
    """Drop or report records with an answer that is nothing but a refusal.

    ``phrases`` are more regular expressions for the beginning of a sentence that refuses.
    Where a row has tools, a refusal says that none of them fits: that is an answer, and stays.
    """
    is_refusal = refusal_test(phrases)
    for record in records:
        refused = 0
        if not record["tools"]:
            answers = [m["content"] for m in record["messages"] if m["role"] == "assistant"]
            with bounded(record, step, {"phrases": phrases}):
                refused = sum(is_refusal(answer) for answer in answers)
        if refused:
            step.note(record, {"refusal": refused})
        if refused and action == "drop":
            step.reject(record, "refusal", "an answer is nothing but a refusal")
        else:
            yield record
