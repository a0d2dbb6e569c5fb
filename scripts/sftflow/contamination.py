"""Rows that hold benchmark questions: which row, which question, which words.

A row matches a question if it holds one of the question's phrases (questionindex.py) that is no
figure of speech, or the whole of it. How much of it is its coverage: the share of the question's
words that lie in a phrase found in the row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sftflow.questionindex import COMMON, QuestionIndex
from sftflow.wordplaces import Word, plain_text, word_texts, words

BATCH_ROWS = 256
WHOLE = 0.999
MATCHES = pa.schema(
    [
        ("id", pa.string()),  # of the row, as in train.parquet
        ("source", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("suite", pa.string()),
        ("task", pa.string()),
        ("doc", pa.int64()),  # number of the question in the task, from 0: the nearest one
        ("questions", pa.int64()),  # of this task that the row matches
        ("coverage", pa.float64()),  # share of the question's words that the row holds
        ("span", pa.string()),  # the longest piece of the row that stands in the question
        ("question", pa.string()),
    ]
)


class Find(NamedTuple):
    """A phrase of a question in a text: where it stands in both."""

    text: int
    at: int
    start: int
    length: int
    phrase: int


class Match(NamedTuple):
    """A question that a row holds."""

    question: int
    coverage: float
    span: str


class Survey(NamedTuple):
    """What a first look at all rows found: a byte per row, and the rows that hold each phrase."""

    touched: bytearray
    rows_with: np.ndarray


def row_texts(record: Mapping[str, Any]) -> list[str]:
    """Return everything that is said or thought in a row."""
    said = [m["content"] for m in record["messages"]]
    return [text for text in said + [m.get("reasoning") for m in record["messages"]] if text]


def survey(index: QuestionIndex, records: Iterable[Mapping[str, Any]]) -> Survey:
    """Return which rows hold a phrase of a question, and how many rows hold each phrase."""
    touched = bytearray()
    rows_with = np.zeros(index.phrase_count, np.int64)
    rows = iter(records)
    while batch := list(islice(rows, BATCH_ROWS)):
        ids: list[int] = []
        ends = []
        for record in batch:
            for text in row_texts(record):
                ids += index.ids(word_texts(text))
                ids.append(0)  # no phrase goes over the end of a text
            ends.append(len(ids))
        seen = bytearray(len(batch))
        for hits in index.hits(ids):
            owners = np.searchsorted(ends, hits.at, side="right")
            pairs = np.unique(hits.phrases * len(batch) + owners)
            np.add.at(rows_with, pairs // len(batch), 1)
            for owner in np.unique(owners).tolist():
                seen[owner] = 1
        touched += seen
    return Survey(touched, rows_with)


def finds(index: QuestionIndex, texts: Sequence[Sequence[Word]]) -> dict[int, list[Find]]:
    """Return question -> where its phrases stand in the texts of a row."""
    found: dict[int, list[Find]] = {}
    for number, text in enumerate(texts):
        for hits in index.hits(index.ids([w.text for w in text])):
            for phrase, at in zip(hits.phrases.tolist(), hits.at.tolist(), strict=True):
                sentence = text[at].opens and text[at + hits.length - 1].closes
                for question, start in index.holders(hits.length, phrase):
                    # A few words are a question only where they are a sentence of their own.
                    if sentence or not index.bare[question]:
                        find = Find(number, at, start, hits.length, phrase)
                        found.setdefault(question, []).append(find)
    return found


def matches(
    index: QuestionIndex,
    record: Mapping[str, Any],
    rows_with: np.ndarray,
    coverage: float,
    own_coverage: float,
) -> list[Match]:
    """Return the questions that a row holds.

    ``coverage`` and ``own_coverage`` are the least share of a question's words, the second for
    questions that are rows of the same dataset.
    """
    said = row_texts(record)
    texts = [words(text) for text in said]
    found = []
    for question, places in finds(index, texts).items():
        held = set().union(*(range(f.start, f.start + f.length) for f in places))
        share = min(len(held) / int(index.known_words[question]), 1.0)
        rare = any(rows_with[find.phrase] <= COMMON for find in places)
        least = own_coverage if index.questions[question].own else coverage
        if share >= WHOLE or (rare and share >= least):
            found.append(Match(question, share, _longest(said, texts, places)))
    return found


def _longest(said: Sequence[str], texts: Sequence[Sequence[Word]], places: list[Find]) -> str:
    """Return the longest piece of the row that these phrases make up together."""
    best, reach = (0, 0, 0), (-1, 0, 0)  # text, first word, word after the last
    for find in sorted(places):
        if find.text == reach[0] and find.at <= reach[2]:
            reach = (find.text, reach[1], max(reach[2], find.at + find.length))
        else:
            reach = (find.text, find.at, find.at + find.length)
        if reach[2] - reach[1] > best[2] - best[1]:
            best = reach
    text = texts[best[0]]
    return plain_text(said[best[0]])[text[best[1]].start : text[best[2] - 1].end]


class Findings:
    """The matches of all rows, and how many rows and questions they are."""

    def __init__(self, index: QuestionIndex) -> None:
        """Count against the questions of ``index``."""
        self.index = index
        self.rows = self.rows_with_overlap = 0
        self.rows_by_task: Counter[tuple[str, str]] = Counter()
        self.found = np.zeros(len(index.questions), bool)

    def add(self, record: Mapping[str, Any], found: Iterable[Match]) -> Iterator[dict[str, Any]]:
        """Count a row's matches and yield them as rows of ``MATCHES``, one per task."""
        by_task: dict[tuple[str, str], list[Match]] = {}
        for match in found:
            question = self.index.questions[match.question]
            by_task.setdefault((question.suite, question.task), []).append(match)
            self.found[match.question] = True
        self.rows_with_overlap += bool(by_task)
        for (suite, task), many in by_task.items():
            self.rows_by_task[suite, task] += 1
            best = min(many, key=lambda match: (-match.coverage, match.question))
            question = self.index.questions[best.question]
            yield {
                **{key: record[key] for key in ("id", "source", "file", "row")},
                "suite": suite,
                "task": task,
                "doc": question.doc,
                "questions": len(many),
                "coverage": round(best.coverage, 3),
                "span": best.span,
                "question": question.text,
            }

    def counts(self) -> dict[str, Any]:
        """Return the counts, in all and by suite and task."""
        tasks: dict[str, dict[str, Any]] = {}
        for number, question in enumerate(self.index.questions):
            said = tasks.setdefault(
                f"{question.suite}/{question.task}",
                {
                    "questions": 0,
                    "unchecked": 0,
                    "found": 0,
                    "rows": self.rows_by_task[question.suite, question.task],
                    "own_test_rows": question.own,
                },
            )
            said["questions"] += 1
            said["unchecked"] += not self.index.known_words[number]
            said["found"] += bool(self.found[number])
        return {
            "rows": self.rows,
            "rows_with_overlap": self.rows_with_overlap,
            "questions": len(self.index.questions),
            "questions_unchecked": sum(t["unchecked"] for t in tasks.values()),
            "questions_found": int(self.found.sum()),
            "tasks": dict(sorted(tasks.items())),
        }
