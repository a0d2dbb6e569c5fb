"""Self-Instruct (Wang et al. 2022, arXiv:2212.10560): new instructions from examples of old ones.

Examples are drawn from the seeds and from what was made so far (six and two, as in the paper); what
the generator goes on with is filtered by the paper's rules, among them ROUGE-L against all that is
there, and answered. The paper's way of asking for classification tasks apart is left out.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from math import ceil, inf
from typing import Any

from sftflow.generating import Generator, NoReply, in_order
from sftflow.lists import shipped_list
from sftflow.making import (
    Messages,
    Outcome,
    Seed,
    attempted,
    filled,
    spoken,
    turn,
    usable,
)
from sftflow.replycache import Reply
from sftflow.rouge import rouge_l
from sftflow.words import words

OLD, NEW = 6, 2  # examples from the seeds and from what was made (section 2.2)
TASKS = 16  # the number of the last task that is asked for; the examples are the first
MOST_REQUESTS = 16  # for new tasks in a round; a round sees what earlier ones made
PER_REQUEST = 4  # tasks that are expected to pass
STALLED = 5  # rounds without a new task, then it ends
FEWEST_WORDS, MOST_WORDS = 3, 150  # more than, and at most (section 2.2 and the authors' code)
NUMBERED = re.compile(r"^\s*(?:task\s+)?\d+\s*[.):、]\s*", re.IGNORECASE | re.MULTILINE)

Proposal = tuple[Seed, str, Reply]


class SelfInstruct:
    """Makes tasks until there are enough rows."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Take seed, rows and similarity."""
        self.seed, self.rows = options["seed"], options["rows"]
        self.similarity = options["similarity"]
        self.texts = shipped_list("selfinstruct.yaml")
        self.not_text = set(self.texts["not_text"])
        self._known: list[list[str]] = []  # the words of each instruction that is there
        self._made: list[str] = []

    def requests(self, seeds: int) -> int:  # noqa: ARG002 (as of the other methods)
        """Return how many requests the rows take if as many tasks pass as expected."""
        return self.rows + ceil(self.rows / PER_REQUEST)

    def outcomes(
        self,
        read: Callable[[], Iterable[Seed]],
        generator: Generator,
        concurrency: int,
        missing: Callable[[], float],
    ) -> Iterator[Outcome]:
        """Yield rows and what was rejected, round by round, until no row is ``missing``."""
        seeds = []
        for seed in read():
            if seed.fault:
                yield Outcome(seed, "", reason="unusable_seed", detail=seed.fault)
            else:
                seeds.append(seed)
        self._known = [words(seed.prompt) for seed in seeds]
        fresh: deque[Proposal] = deque()
        number = stalled = 0
        while seeds and missing() > 0 and stalled < STALLED:
            for found in self._round(seeds, number, missing(), generator, concurrency):
                if isinstance(found, Outcome):
                    yield found
                else:
                    fresh.append(found)
            number, stalled = number + 1, 0 if fresh else stalled + 1

            def answer(proposal: Proposal) -> Outcome:
                return _answered(*proposal, generator)

            yield from in_order(_taken(fresh), answer, concurrency, missing, generator.stop)
        for seed, task, reply in fresh:
            detail = f"there are rows enough; not answered: {task[:200]!r}"
            yield Outcome(seed, "task", [reply], reason="surplus", detail=detail)

    def _round(
        self, seeds: list[Seed], number: int, missing: float, generator: Generator, concurrency: int
    ) -> Iterator[Outcome | Proposal]:
        """Yield new tasks, and as outcomes what is none."""
        requests = min(MOST_REQUESTS, ceil(missing / PER_REQUEST))
        draws = [number * MOST_REQUESTS + n for n in range(requests)]
        drawn = [self._examples(seeds, draw) for draw in draws]

        def propose(at: int) -> Reply | Outcome:
            first, examples = drawn[at]
            try:
                return generator.ask([turn("user", self._request(examples))], draw=draws[at])
            except NoReply as error:
                return Outcome(first, "task", reason="no_reply", detail=str(error))

        found = in_order(range(requests), propose, concurrency, lambda: inf, generator.stop)
        for (first, _), reply in zip(drawn, found, strict=True):
            if isinstance(reply, Outcome):
                yield reply
                continue
            tasks = _tasks(reply)
            if not tasks:
                yield Outcome(first, "task", [reply], reason="no_task", detail="no numbered task")
            for task in tasks:
                fault = self._fault(task)
                if fault is None:
                    self._known.append(words(task))
                    self._made.append(task)
                    yield first, task, reply
                else:
                    yield Outcome(first, "task", [reply], reason=fault[0], detail=fault[1])

    def _examples(self, seeds: list[Seed], draw: int) -> tuple[Seed, list[str]]:
        """Return the first seed drawn, which stands as the parent, and the texts of all."""
        chance = random.Random(f"{self.seed} {draw}")
        old = chance.sample(seeds, min(OLD, len(seeds)))
        new = chance.sample(self._made, min(NEW, len(self._made)))
        examples = [*(seed.prompt for seed in old), *new]
        chance.shuffle(examples)
        return old[0], examples

    def _request(self, examples: list[str]) -> str:
        lines = [f"{n}. {' '.join(text.split())}" for n, text in enumerate(examples, 1)]
        shown = "\n".join(lines)
        begin, end = str(len(lines) + 1), str(TASKS)
        return filled(self.texts["tasks"], examples=shown, next=begin, last=end)

    def _fault(self, task: str) -> tuple[str, str] | None:
        """Return why a task is not taken, None for one that is new and fit."""
        said = words(task)
        if not FEWEST_WORDS < len(said) <= MOST_WORDS:
            return "length", f"{len(said)} words: {task[:200]!r}"
        unfit = self.not_text.intersection(said) or {
            m for m in self.not_text if not m.isascii() and m in task
        }
        if unfit:
            return "not_text", f"asks for {min(unfit)!r}, which text can't give: {task[:200]!r}"
        for other in self._known:
            like = rouge_l(said, other, self.similarity)
            if like >= self.similarity:
                return "similar", f"ROUGE-L {like:.2f} with another instruction: {task[:200]!r}"
        return None


def _tasks(reply: Reply) -> list[str]:
    """Return the numbered tasks of a reply; the last one is left out if it was cut off."""
    parts = [part.strip() for part in NUMBERED.split(spoken(reply))[1:]]
    parts = parts[:-1] if reply.finish_reason == "length" else parts
    return [part for part in parts if part]


def _taken(fresh: deque[Proposal]) -> Iterator[Proposal]:
    while fresh:
        yield fresh.popleft()


def _answered(seed: Seed, task: str, proposed: Reply, generator: Generator) -> Outcome:
    def find(replies: list[Reply]) -> Messages:
        replies.append(proposed)
        replies.append(generator.ask([turn("user", task)]))
        return [turn("user", task), turn("assistant", usable(replies[1]))]

    return attempted(seed, "task", find)
