"""Evol-Instruct (Xu et al. 2023, arXiv:2304.12244): prompts made harder step by step.

Each round draws one of five operations: add constraints, deepen, concretise, ask for more steps of
reasoning, or go into breadth. A round that fails is eliminated by the paper's four rules (section
3.2), and the next one starts from the same prompt again.
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

FEW_WORDS = 80  # an apology in a shorter answer counts as a refusal (section 3.2)


class EvolInstruct(FromEachSeed):
    """Evolves the first user turn of a seed for some rounds, and has each stage answered."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Take rounds and operations."""
        super().__init__(options)
        self.operations, self.most_rows = options["operations"], options["rounds"]
        self.requests_each = 3 * options["rounds"]  # evolve, compare, answer
        self.texts = shipped_list("evolving.yaml")
        self.stop_words = set(self.texts["stop_words"])

    def work(self, seed: Seed, generator: Generator) -> list[Outcome]:
        """Return an outcome for each round."""
        prompt, found = seed.prompt, []
        for number in range(self.most_rows):
            at = draw_key(self.seed, seed.id, number) % len(self.operations)
            operation = self.operations[at]
            outcome = self._round(seed, prompt, operation, number, generator)
            found.append(outcome)
            if outcome.messages is not None:
                prompt = outcome.messages[0]["content"]
        return found

    def _round(
        self, seed: Seed, prompt: str, operation: str, number: int, generator: Generator
    ) -> Outcome:
        def ask(replies: list[Reply], request: str) -> str:
            replies.append(generator.ask([turn("user", request)], draw=number))
            return usable(replies[-1])

        def find(replies: list[Reply]) -> Messages:
            evolved = ask(replies, self._request(prompt, operation))
            self._check_prompt(prompt, evolved)
            compared = ask(replies, filled(self.texts["gain"], given=prompt, evolved=evolved))
            if words(compared)[:1] == ["equal"]:
                raise Discarded("no_gain", f"the evolved prompt asks for the same: {evolved!r}")
            answer = ask(replies, evolved)
            self._check_answer(answer)
            return [turn("user", evolved), turn("assistant", answer)]

        return attempted(seed, operation, find)

    def _request(self, prompt: str, operation: str) -> str:
        if operation == "breadth":
            return filled(self.texts["breadth"], given=prompt)
        how = self.texts["operations"][operation]
        return filled(self.texts["depth"], given=prompt, operation=how)

    def _check_prompt(self, prompt: str, evolved: str) -> None:
        """Raise Discarded for a prompt that is the old one, or copies words of the request."""
        if normalized(evolved) == normalized(prompt):
            raise Discarded("no_gain", "the prompt came back as it was")
        for mark in self.texts["leftovers"]:
            if mark in evolved.lower() and mark not in prompt.lower():
                raise Discarded("leftovers", f"the prompt holds words of the request: {mark!r}")

    def _check_answer(self, answer: str) -> None:
        """Raise Discarded for an answer that shows that the prompt is too hard, or is void."""
        said, small = words(answer), answer.lower()
        sorry = [mark for mark in self.texts["sorry"] if mark in small]
        if sorry and len(said) < FEW_WORDS:
            raise Discarded(
                "too_hard", f"an answer of {len(said)} words with {sorry[0]!r}: {answer[:200]!r}"
            )
        if self.stop_words.issuperset(said):
            raise Discarded("says_nothing", f"nothing but stop words: {answer[:200]!r}")
