"""What the ways of making data share: seeds to start from, and what becomes of each attempt.

An attempt gives an outcome: a new conversation, or the reason why it is none. Outcomes of a
seed are found by that seed and the spec alone, so they are the same whatever runs beside.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from pathlib import Path
from typing import Any

import numpy as np

from sftflow.generating import Generator, NoReply, in_order
from sftflow.promptfile import read_prompts
from sftflow.records import content_id, read_rows
from sftflow.replycache import Reply
from sftflow.rowgroups import place_group
from sftflow.stage import StageError

Messages = list[dict[str, str]]
THOUGHT = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Seed:
    """A conversation to start from, or a prompt without an answer."""

    id: str
    file: str | None
    row: int
    messages: Messages  # role and content
    fault: str | None = None  # why it can't be used
    group: str | None = None
    tags: Sequence[str] | None = None

    @property
    def before(self) -> Messages:
        """Return all that stands before the last answer."""
        answered = self.messages[-1]["role"] == "assistant"
        return self.messages[:-1] if answered else self.messages

    @property
    def answer(self) -> str | None:
        """Return the last answer; None for a prompt."""
        last = self.messages[-1]
        return last["content"] if last["role"] == "assistant" else None

    @property
    def prompt(self) -> str:
        """Return the first user turn."""
        return next(m["content"] for m in self.messages if m["role"] == "user")


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt: ``messages``, or the ``reason`` and ``detail`` why not."""

    seed: Seed
    operation: str
    replies: Sequence[Reply] = field(default=())
    messages: Messages | None = None
    reason: str = ""
    detail: str = ""


class Discarded(Exception):
    """A generation that can't be used: a short code and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def turn(role: str, content: str) -> dict[str, str]:
    """Return one message as an API takes it."""
    return {"role": role, "content": content}


def seeds_of_source(records: Path) -> Iterator[Seed]:
    """Yield the rows of an ingested source."""
    for row in read_rows(records):
        said = [turn(m["role"], m["content"]) for m in row["messages"]]
        tools = row["tools"] or any(m["tool_calls"] or m["role"] == "tool" for m in row["messages"])
        fault = "the row uses tools" if tools else None
        fault = fault or _no_prompt(said)
        group = row["group"] or place_group(row)  # or a row of test is trained on in other words
        yield Seed(row["id"], row["file"], row["row"], said, fault, group, row["tags"])


def seeds_of_prompts(path: Path) -> Iterator[Seed]:
    """Yield the prompts of a JSON Lines file; raise StageError naming the line at fault."""
    try:
        for number, prompt in enumerate(read_prompts(path), start=1):
            said = [turn(m["role"], m["content"]) for m in prompt["messages"]]
            yield Seed(content_id({"messages": said}), path.name, number, said, _no_prompt(said))
    except ValueError as error:
        raise StageError(str(error)) from None


def _no_prompt(messages: Messages) -> str | None:
    asked = any(m["role"] == "user" and m["content"].strip() for m in messages)
    return None if asked else "the row has no user turn"


def draw_key(seed: int, *parts: Any) -> int:
    """Return 64 bits that chance gives ``parts``: always the same ones."""
    said = "\x1f".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest(), "big")


def drawn(read: Callable[[], Iterable[Seed]], seed: int, rows: int | None) -> Iterator[Seed]:
    """Yield all seeds in their order; or, for so many ``rows``, in an order that chance gives.

    The file is read once for each ``rows`` seeds, and no more than these are held. Of equal
    rows one is drawn.
    """
    if rows is None:
        yield from read()
        return
    keys = np.fromiter((draw_key(seed, s.id) for s in read()), dtype=np.uint64)
    keys = np.unique(keys)
    for start in range(0, len(keys), rows):
        part = keys[start : start + rows]
        held = {}
        for one in read():
            key = draw_key(seed, one.id)
            if part[0] <= key <= part[-1]:
                held.setdefault(key, one)
        yield from (held[key] for key in sorted(held))


def filled(template: str, **parts: str) -> str:
    """Return a prompt with ``{name}`` replaced; braces within the parts mean nothing."""
    return re.sub(r"\{(\w+)\}", lambda found: parts.get(found[1], found[0]), template)


def spoken(reply: Reply) -> str:
    """Return what a reply says, without the thoughts that some models put before it."""
    return THOUGHT.sub("", reply.text).strip()


def usable(reply: Reply) -> str:
    """Return what a reply says; raise Discarded if that is nothing or was cut off."""
    text = spoken(reply)
    if reply.finish_reason == "length":
        raise Discarded("cut_off", f"the reply ended at max_tokens: ...{text[-80:]!r}")
    if not text:
        raise Discarded("empty", "the generator said nothing")
    return text


def attempted(seed: Seed, operation: str, find: Callable[[list[Reply]], Messages]) -> Outcome:
    """Return the outcome of ``find``, which adds each reply that it gets to its list."""
    replies: list[Reply] = []
    try:
        return Outcome(seed, operation, replies, messages=find(replies))
    except Discarded as error:
        return Outcome(seed, operation, replies, reason=error.reason, detail=error.detail)
    except NoReply as error:
        return Outcome(seed, operation, replies, reason="no_reply", detail=str(error))


class FromEachSeed(ABC):
    """A way of making data that looks at each seed for itself.

    ``most_rows``: how many rows a seed gives at most; ``requests_each``: how many requests it
    takes then.
    """

    most_rows = 1
    requests_each = 1

    def __init__(self, options: dict[str, Any]) -> None:
        """Take the stage's spec."""
        self.seed, self.rows = options["seed"], options["rows"]

    @abstractmethod
    def work(self, seed: Seed, generator: Generator) -> list[Outcome]:
        """Return what comes of one seed."""

    def requests(self, seeds: int) -> int:
        """Return how many requests so many seeds take."""
        tasks = seeds if self.rows is None else min(seeds, ceil(self.rows / self.most_rows))
        return tasks * self.requests_each

    def outcomes(
        self,
        read: Callable[[], Iterable[Seed]],
        generator: Generator,
        concurrency: int,
        missing: Callable[[], float],
    ) -> Iterator[Outcome]:
        """Yield what comes of the seeds, in their order, until no row is ``missing``."""

        def work(seed: Seed) -> list[Outcome]:
            if seed.fault:
                return [Outcome(seed, "", reason="unusable_seed", detail=seed.fault)]
            return self.work(seed, generator)

        def wanted() -> float:
            rows = missing()
            return rows if rows == inf else ceil(rows / self.most_rows)

        seeds = drawn(read, self.seed, self.rows)
        for found in in_order(seeds, work, concurrency, wanted, generator.stop):
            yield from found
