"""Best of n: several answers of a strong model to each prompt, the best one kept by a ranker.

As rejection sampling in Llama 2 (Touvron et al. 2023, arXiv:2307.09288, section 3.2.2), with a
judge model or the length in place of a reward model.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sftflow.generating import Generator, NoReply
from sftflow.judging import instructions, read_score
from sftflow.making import (
    Discarded,
    FromEachSeed,
    Messages,
    Outcome,
    Seed,
    attempted,
    spoken,
    turn,
    usable,
)
from sftflow.refusals import refusal_test
from sftflow.replycache import Reply


class BestOfN(FromEachSeed):
    """Has what stands before the last answer answered n times."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Take candidates, rank, and the judge's model, rubric and scale."""
        super().__init__(options)
        self.candidates, self.rank = options["candidates"], options["rank"]
        self.judge_model, self.scale = options["judge_model"], options["scale"]
        self.system = instructions(options["rubric"], options["scale"])
        self.requests_each = self.candidates * (2 if self.rank == "judge" else 1)
        self.is_refusal = refusal_test()

    def work(self, seed: Seed, generator: Generator) -> list[Outcome]:
        """Return an outcome for each candidate: a row for the best, reasons for the others."""
        tried = [self._candidate(seed, n, generator) for n in range(self.candidates)]
        ranked = [(n, o, self._score(o)) for n, o in enumerate(tried) if o.messages is not None]
        if not ranked:
            return tried
        best, _, top = max(ranked, key=lambda found: (found[2], -found[0]))
        for n, outcome, score in ranked:
            if n != best:
                detail = f"{self._told(score)}; candidate {best + 1} has {self._told(top)}"
                tried[n] = replace(outcome, messages=None, reason="not_best", detail=detail)
        return tried

    def _candidate(self, seed: Seed, number: int, generator: Generator) -> Outcome:
        def find(replies: list[Reply]) -> Messages:
            replies.append(generator.ask(seed.before, draw=number))
            answer = usable(replies[0])
            if self.is_refusal(answer):
                raise Discarded("refusal", f"the answer is nothing but a refusal: {answer[:200]!r}")
            messages = [*seed.before, turn("assistant", answer)]
            if self.rank == "judge":
                replies.append(self._judged(messages, generator))
                if read_score(spoken(replies[1]), self.scale) is None:
                    said = spoken(replies[1])[:200]
                    raise Discarded("unranked", f"the judge's reply holds no score: {said!r}")
            return messages

        return attempted(seed, f"candidate {number + 1}", find)

    def _judged(self, messages: Messages, generator: Generator) -> Reply:
        shown = json.dumps({"messages": messages}, ensure_ascii=False, indent=1)
        asked = [turn("system", self.system), turn("user", shown)]
        model = {"model": self.judge_model} if self.judge_model else {}
        try:
            return generator.ask(asked, temperature=0, **model)
        except NoReply as error:
            raise Discarded("unranked", f"the judge gave no reply ({error})") from None

    def _score(self, outcome: Outcome) -> float:
        if self.rank == "judge":
            return read_score(spoken(outcome.replies[1]), self.scale) or 0.0
        length = len(spoken(outcome.replies[0]))
        return length if self.rank == "longest" else -length

    def _told(self, score: float) -> str:
        return f"score {score:g}" if self.rank == "judge" else f"{abs(score):g} characters"
