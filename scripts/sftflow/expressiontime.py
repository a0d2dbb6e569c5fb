"""A bound on what the regular expressions of a config may cost one row.

``(a+)+$`` on forty times "a" and a "b" takes hours: each way to part the letters is tried. Which
expressions do that, on which text, is not to be told beforehand, so it is told when it happens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sftflow.cleaningstep import Record, Step
from sftflow.processortime import TooSlow, processor_time
from sftflow.stage import StageError

ROW_S = 10  # of the processor; plain expressions read 13 to 1,250 MB in a second (measured)
ALONE_S = 1


@contextmanager
def bounded(record: Record, step: Step, expressions: Mapping[str, Sequence[str]]) -> Iterator[None]:
    """Raise StageError if the block takes longer than ROW_S with a row.

    ``expressions`` are those of the config by the option that they stand in; without any, nothing
    is bounded: the shipped ones end.
    """
    if not any(expressions.values()):
        yield
        return
    try:
        with processor_time(ROW_S):
            yield
    except TooSlow:
        place = f"{record['source']} {record['file']}:{record['row']}"
        raise StageError(
            f"{place}: cleaning step {step.name} is not done with this row after {ROW_S} s because "
            f"of {_told(record, expressions)}; write it without a repetition within a repetition, "
            "as in (a+)+"
        ) from None


def _told(record: Record, expressions: Mapping[str, Sequence[str]]) -> str:
    """Name the expressions that take long by themselves, or all if it is none alone."""
    texts = [message["content"] for message in record["messages"]]
    named = [(option, phrase) for option, phrases in expressions.items() for phrase in phrases]
    slow = [(option, phrase) for option, phrase in named if _is_slow(phrase, texts)]
    return ", ".join(f"{option}: {phrase!r}" for option, phrase in slow or named)


def _is_slow(phrase: str, texts: Sequence[str]) -> bool:
    form = re.compile(phrase, re.I)
    try:
        with processor_time(ALONE_S):
            for text in texts:
                form.search(text)
    except TooSlow:
        return True
    return False
