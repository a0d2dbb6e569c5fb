"""The cleaning step that settles prompts with several different answers."""

from __future__ import annotations

import logging
from array import array
from collections import Counter

import numpy as np

from sftflow.cleaningstep import Records, Step
from sftflow.nearduplicates import CROWD, compared_text, setting_key
from sftflow.nearindex import NearIndex
from sftflow.places import Places
from sftflow.prompts import answer_key, context_key
from sftflow.spool import Spool
from sftflow.stage import StageError

logger = logging.getLogger(__name__)
KEEP = ("none", "first", "majority", "report")


def conflicts(
    records: Records,
    step: Step,
    keep: str = "none",
    ignore_system: bool = False,
    near: float | None = None,
    ngram: int = 3,
) -> Records:
    """Settle prompts with several different answers: keep none, the first or the majority's.

    A prompt is all that stands before the last answer. Its system prompt may well change what is
    right; ``ignore_system`` says that in this data it does not. Prompts whose ``ngram`` sets have
    a Jaccard similarity of ``near`` or more count as one. With ``keep`` "report" all stay, and
    the conflicts are counted and named in the log.
    Records are spooled to a file, since the last one may contradict the first; in memory stay
    24 bytes for each (see NearIndex for what ``near`` adds).
    """
    if keep not in KEEP:
        raise StageError(
            f"conflicts: keep is {keep!r}; expected {', '.join(KEEP[:-1])} or {KEEP[-1]}"
        )
    contexts, answers, places = array("Q"), array("Q"), Places()
    with Spool(step.folder) as spool:
        noted = _noted(spool.fill(records), contexts, answers, places, ignore_system)
        if near is None:
            for _ in noted:
                pass
        else:
            contexts = _near_contexts(noted, contexts, step, (near, ngram, ignore_system))
        rivals = rival_answers(contexts, answers)
        firsts: dict[int, int] = {}
        for row, context in enumerate(contexts):
            if context in rivals:
                firsts.setdefault(context, row)
        rows = zip(spool.read(), contexts, answers, strict=True)
        for number, (record, context, answer) in enumerate(rows):
            if context not in rivals or answer == _chosen(rivals[context], keep):
                yield record
                continue
            said = f"its prompt has {len(rivals[context])} different answers"
            if near is not None:
                said += f", with those nearly the same from {places[firsts[context]]} on"
            if keep == "report":
                step.note(record, {"conflict": 1})
                logger.info("conflict: %s: %s", places[number], said)
                yield record
            else:
                step.reject(record, "conflict", f"{said}; keep: {keep}")


def _noted(
    records: Records, contexts: array, answers: array, places: Places, ignore_system: bool
) -> Records:
    for record in records:
        contexts.append(context_key(record, ignore_system))
        answers.append(answer_key(record))
        places.add(record)
        yield record


def _near_contexts(
    records: Records, contexts: array, step: Step, how: tuple[float, int, bool]
) -> array:
    """Return for each record the key of the prompt that stands for those nearly the same."""
    near, ngram, ignore_system = how
    step.packages.add("rensa")
    numbers: dict[int, int] = {}  # equal prompts are looked at once, so they stay together
    with NearIndex(step.folder, near, ngram) as index:
        for record in records:
            context = contexts[-1]  # of this record, by _noted
            if numbers.setdefault(context, len(numbers)) == len(index):
                said = [m for m in record["messages"][:-1] if m["role"] != "system"]
                index.add(compared_text(said), setting_key(record, ignore_system))
        leaders = [leader for leader, _ in index.leaders()]
        if index.crowded:
            step.totals[CROWD] += index.crowded
    keys = list(numbers)
    return array("Q", (keys[leaders[numbers[context]]] for context in contexts))


def rival_answers(contexts: array, answers: array) -> dict[int, dict[int, int]]:
    """Return, for each context with several answers, how often each came, in their order."""
    context, answer = (np.array(keys, dtype=np.uint64) for keys in (contexts, answers))
    order = np.lexsort((answer, context))
    same_context = context[order][1:] == context[order][:-1]
    other_answer = answer[order][1:] != answer[order][:-1]
    disputed = context[order][1:][same_context & other_answer]
    rivals: dict[int, dict[int, int]] = {}
    for row in np.flatnonzero(np.isin(context, disputed)):
        counts = rivals.setdefault(contexts[row], {})
        counts[answers[row]] = counts.get(answers[row], 0) + 1
    return rivals


def _chosen(counts: dict[int, int], keep: str) -> int | None:
    """Return the key of the answer that stays; None where all go, as in a tie."""
    if keep == "first":
        return next(iter(counts))
    if keep in ("none", "report"):
        return None
    (most, times), (_, next_times) = Counter(counts).most_common(2)
    return most if times > next_times else None
