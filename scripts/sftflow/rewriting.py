"""Augmentation: the prompt or the answer of a row in other words, the rest as it stands."""

from __future__ import annotations

import re
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
    filled,
    turn,
    usable,
)
from sftflow.prompts import normalized
from sftflow.replycache import Reply

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
MOST_TIMES, MOST_MORE = 3, 200  # a rewritten text is no longer than so many times and characters


class Rewriting(FromEachSeed):
    """Rewrites one part of a row, once in each style."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Take part (prompt or answer) and styles."""
        super().__init__(options)
        self.part, self.styles = options["part"], options["styles"]
        self.most_rows = self.requests_each = len(self.styles)
        self.texts = shipped_list("rewriting.yaml")

    def work(self, seed: Seed, generator: Generator) -> list[Outcome]:
        """Return an outcome for each style."""
        if seed.answer is None:
            return [Outcome(seed, "", reason="no_answer", detail="the row has no answer")]
        return [self._rewritten(seed, style, generator) for style in self.styles]

    def _rewritten(self, seed: Seed, style: str, generator: Generator) -> Outcome:
        text = seed.prompt if self.part == "prompt" else seed.answer or ""
        request = filled(
            self.texts[self.part],
            style=self.texts["styles"][style],
            text=text,
            prompt=seed.before[-1]["content"] if seed.before else "",
        )

        def find(replies: list[Reply]) -> Messages:
            replies.append(generator.ask([turn("user", request)]))
            said = usable(replies[0])
            self._check(text, said)
            return self._placed(seed, said)

        return attempted(seed, style, find)

    def _check(self, text: str, said: str) -> None:
        """Raise Discarded for a text that is no rewriting of the other."""
        if normalized(said) == normalized(text):
            raise Discarded("unchanged", "the text came back as it was")
        found = [mark for mark in self.texts["leftovers"] if mark in said.lower()]
        if found and found[0] not in text.lower():
            raise Discarded("leftovers", f"the reply holds words of the request: {found[0]!r}")
        if len(said) > MOST_TIMES * len(text) + MOST_MORE:
            raise Discarded("too_long", f"{len(said)} characters were made of {len(text)}")
        before, after = (set(NUMBER.findall(t)) for t in (text, said))
        if before != after:
            changed = ", ".join(sorted(before ^ after)[:5])
            raise Discarded("numbers_changed", f"the two texts differ in their numbers: {changed}")

    def _placed(self, seed: Seed, said: str) -> Messages:
        """Return the row with the new text in place of the old one."""
        messages = [dict(m) for m in seed.messages]
        if self.part == "answer":
            messages[-1]["content"] = said
        else:
            next(m for m in messages if m["role"] == "user")["content"] = said
        return messages
