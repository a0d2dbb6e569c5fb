"""Refusal examples against confident nonsense: questions that have no truthful answer.

A question near to a seed's is made that nobody can answer, for one of five reasons; it is answered
under instructions to say so, and the answer is checked. The instructions are not part of the row.
"""

from __future__ import annotations

from typing import Any

from sftflow.generating import Generator
from sftflow.lists import shipped_list
from sftflow.making import (
    Discarded,
    FromEachSeed,
    Messages,
    Outcome,
    Seed,
    attempted,
    draw_key,
    filled,
    turn,
    usable,
)
from sftflow.prompts import normalized
from sftflow.replycache import Reply
from sftflow.words import words


class Unanswerable(FromEachSeed):
    """Makes one question and the answer that declines it from each seed."""

    requests_each = 3  # ask, answer, check

    def __init__(self, options: dict[str, Any]) -> None:
        """Take kinds."""
        super().__init__(options)
        self.kinds = options["kinds"]
        self.texts = shipped_list("unanswerable.yaml")

    def work(self, seed: Seed, generator: Generator) -> list[Outcome]:
        """Return one outcome."""
        kind = self.kinds[draw_key(self.seed, seed.id, "kind") % len(self.kinds)]

        def ask(replies: list[Reply], *messages: dict[str, str], **more: Any) -> str:
            replies.append(generator.ask(messages, **more))
            return usable(replies[-1])

        def find(replies: list[Reply]) -> Messages:
            why = self.texts["kinds"][kind]
            request = filled(self.texts["question"], kind=why, given=seed.prompt)
            question = ask(replies, turn("user", request))
            if normalized(question) == normalized(seed.prompt):
                raise Discarded("unchanged", "the question is the seed's own")
            answer = ask(replies, turn("system", self.texts["answer"]), turn("user", question))
            request = filled(self.texts["check"], question=question, answer=answer)
            verdict = ask(replies, turn("user", request), temperature=0)
            if words(verdict)[:1] != ["yes"]:
                raise Discarded("not_declined", f"the check says {verdict[:200]!r}")
            return [turn("user", question), turn("assistant", answer)]

        return [attempted(seed, kind, find)]
