"""Training rows as examples in a prompt: in-context learning (Brown et al. 2020, arXiv:2005.14165).

An example is a training row without its system prompt, in the turns that the chat template gives
every conversation. Rows with tools are no examples: a prompt has one list of tools, its own.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sftflow.conversations import template_messages
from sftflow.prompts import first_prompt, prompt_key
from sftflow.stage import StageError

Messages = Sequence[Mapping[str, Any]]
NGRAMS = (2, 4)  # characters; of use in every script, with and without spaces


@dataclass(frozen=True)
class Example:
    """A training row as turns to show."""

    id: str
    text: str  # the first user turn, normalized
    turns: list[dict[str, Any]]


def example_of(record: Mapping[str, Any]) -> Example | None:
    """Return a record as an example; None unless user and assistant take turns, with texts."""
    turns = [m for m in record["messages"] if m["role"] != "system"]
    roles = ["user", "assistant"] * (len(turns) // 2)
    spoken = all(m["content"] and not m.get("tool_calls") for m in turns)
    if not turns or record.get("tools") or not spoken or [m["role"] for m in turns] != roles:
        return None
    return Example(record["id"], first_prompt(turns), template_messages(turns))


def drawn(records: Iterable[Mapping[str, Any]], count: int, seed: int) -> list[Example]:
    """Return ``count`` examples with different prompts: the smallest digests of their ids.

    Fewer are the beginning of more. Memory is that of the examples and a number per row.
    """
    seen: set[int] = set()

    def candidates() -> Iterable[tuple[str, Example]]:
        for record in records:
            example = example_of(record)
            if example is None:
                continue
            key = prompt_key(example.turns)
            if key not in seen:
                seen.add(key)
                place = hashlib.sha256(f"example {seed} {example.id}".encode()).hexdigest()
                yield place, example

    found = heapq.nsmallest(count, candidates(), key=lambda placed: placed[0])
    return [example for _, example in found]


def check_apart(examples: Iterable[Example], test: Iterable[Mapping[str, Any]], name: str) -> None:
    """Raise StageError if an example is a test row, or begins with the prompt of one."""
    keys = {prompt_key(example.turns): example.id for example in examples}
    ids = set(keys.values())
    for record in test:
        if record["id"] in ids or prompt_key(record["messages"]) in keys:
            raise StageError(
                f"dataset {name}: the prompt of test row {record['id']} is in the training rows "
                "too, so it can't be tested with them as examples; run split_dataset again"
            )


def chooser(
    pool: Sequence[Example], count: int, choose: str
) -> Callable[[Messages], list[Example]]:
    """Return a function: the examples for a prompt, the last one next to it.

    ``random`` gives the first of the pool to every prompt, ``similar`` the nearest ones by the
    cosine of TF-IDF vectors of character n-grams, as Liu et al. 2021 (arXiv:2101.06804) choose by
    the cosine of embeddings; the nearest last.
    """
    if choose == "random":
        return lambda _: list(pool[:count])
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char", ngram_range=NGRAMS, sublinear_tf=True)
    known = vectors.fit_transform([example.text for example in pool])

    def nearest(messages: Messages) -> list[Example]:
        likeness = (known @ vectors.transform([first_prompt(messages)]).T).toarray()[:, 0]
        best = heapq.nsmallest(count, range(len(pool)), key=lambda i: (-likeness[i], i))
        return [pool[i] for i in reversed(best)]

    return nearest


def with_examples(messages: Messages, examples: Iterable[Example]) -> list[dict[str, Any]]:
    """Return a prompt with examples as turns before it, its own system prompt first."""
    own = [dict(m) for m in messages]
    system = own[:1] if own[0]["role"] == "system" else []
    turns = [turn for example in examples for turn in example.turns]
    return [*system, *turns, *own[len(system) :]]


def fitting(
    messages: Messages, examples: Sequence[Example], fits: Callable[[Messages], bool]
) -> list[Example]:
    """Return the examples that leave room for an answer; the furthest from the prompt go first."""
    kept = list(examples)
    while kept and not fits(with_examples(messages, kept)):
        kept.pop(0)
    return kept
