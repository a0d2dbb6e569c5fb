"""Scores of every set, whatever metrics a config names: they show known faults of a model.

``ended``, ``repetition``  as in scoring.py
``same_answer``            share of the answers that are the most common one: at 1 a model says the
                           same whatever it is asked, or it is right
``same_instead``           share of the rows whose reference is another one that got this most
                           common answer: at 1 a model says the same whatever it is asked; of no
                           set without references
``copied``                 share of an answer's 4-grams of words that stand in its prompt and not
                           in its reference: at 1 a model repeats what it is told; of no set
                           without references

A reference that takes words from the prompt (a summary, a correction) copies nothing by this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sftflow.estimates import mean_estimate
from sftflow.matching import bare
from sftflow.scoring import Row, Scores, ngrams, score
from sftflow.words import words

MEASURED = ("ended", "repetition")
FAULT_SCORES = (*MEASURED, "same_answer", "same_instead", "copied")
SIZE = 4


def fault_scores(rows: Sequence[Row]) -> Scores:
    """Return the scores above of one set's answers."""
    said = Counter(bare(row["answer"]) for row in rows if was_asked(row))
    (commonest, times) = said.most_common(1)[0] if said else ("", 0)
    scores = score(rows, MEASURED)
    scores["same_answer"] = mean_estimate(place < times for place in range(said.total()))
    if any(row.get("reference") is not None for row in rows):
        scores["same_instead"] = mean_estimate(said_instead(rows, commonest))
        shares = map(copied_share, rows)
        scores["copied"] = mean_estimate(share for share in shares if share is not None)
    return scores


def said_instead(rows: Sequence[Row], answer: str) -> Iterator[bool]:
    """Yield, for each row whose reference is another than ``answer``, if it was answered so."""
    for row in rows:
        if was_asked(row) and row.get("reference") is not None and bare(row["reference"]) != answer:
            yield bare(row["answer"]) == answer


def was_asked(row: Row) -> bool:
    """Say whether there was room for an answer."""
    return row["answer"] is not None and row.get("finish_reason") != "prompt_too_long"


def copied_share(row: Row) -> float | None:
    """Return how much of an answer is from its prompt; None if it has too few words."""
    if not was_asked(row) or row.get("reference") is None:
        return None
    said = ngrams(words(row["answer"]), SIZE)
    told = {
        gram
        for message in row.get("messages") or ()
        for gram in ngrams(words(message.get("content") or ""), SIZE)
    } - set(ngrams(words(row["reference"]), SIZE))
    return sum(gram in told for gram in said) / len(said) if said else None
