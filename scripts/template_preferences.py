"""Render preference pairs in a model's chat template: one prompt, two answers.

reads   dataset/{train,validation}.parquet (records of pairs); model/ (tokenizer, chat template)
writes  train.parquet, validation.parquet: id, input_ids, labels (-100 up to the answer) and length
        of the prompt with the preferred answer, as template_data writes a row that trains its last
        turn; rejected_ids, the other answer; answer_start, where either begins;
        preview.html: some samples with the answers as colour, rejected.parquet, manifest.json

An answer ends with the token that ends its turn, and nothing of the prompt is in it. Both answers
stand behind the very same tokens; a pair whose template makes two prompts of one is rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from sftflow.chat_templates import Refused
from sftflow.masks import IGNORED
from sftflow.records import raw_text
from sftflow.stage import Progress, run_stage
from sftflow.templatedrows import Part, Sample, encoded
from sftflow.templateguards import check_served
from template_data import BATCH_ROWS, LOOKED_AT, TEMPLATED, Templated, main

PAIRS = pa.schema(
    [
        *TEMPLATED,
        ("rejected_ids", pa.list_(pa.int32())),
        ("answer_start", pa.int32()),
    ]
)


class TemplatedPairs(Templated):
    """The pairs of one split, streamed, with counts of all that happened on the way.

    Counts of samples are of pairs, counts of tokens of both sequences that a pair makes.
    """

    stage = "template_preferences"

    def raw(self, record: dict[str, Any]) -> str:
        """Return what a rejected pair says, both answers."""
        return raw_text(record)

    @staticmethod
    def schema(_weighted: bool) -> pa.Schema:
        """Return the columns of the pairs."""
        return PAIRS

    @staticmethod
    def has_weights(_rows: Path) -> bool:
        """Return False: an answer is preferred as a whole."""
        return False

    def samples(self, records: Iterable[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
        """Yield the rows of PAIRS in the order of ``records``."""
        progress = Progress(max(total, 1), f"{self.split} pairs")
        rows = iter(records)
        while batch := list(islice(rows, BATCH_ROWS)):
            rendered = [(record, sides) for record in batch if (sides := self._sides(record))]
            texts = [parts for _, sides in rendered for parts in sides]
            made = encoded(self.template, texts, self.reasoning)
            for record, _ in rendered:
                try:
                    row = self._pair(record, next(made), next(made))
                except Refused as refused:
                    self.reject(record, refused.reason, refused.detail)
                else:
                    yield row
            progress.add(len(batch))

    def _sides(self, record: dict[str, Any]) -> list[list[Part]]:
        """Return the texts with the preferred and with the other answer, [] if one is refused."""
        self.counts["rows"] += 1
        other = {**record, "messages": [*record["messages"][:-1], record["rejected"]]}
        try:
            return [self.parts(side, "last") for side in (record, other)]
        except Refused as refused:
            self.reject(record, refused.reason, refused.detail)
            return []

    def _pair(self, record: dict[str, Any], *made: tuple[Any, Any]) -> dict[str, Any]:
        """Return the row of a pair; raise Refused if there is none."""
        answers, prompts = [], []
        for samples, parts in made:
            if isinstance(samples, Refused):
                raise samples
            if self.counts["samples"] < LOOKED_AT:
                check_served(self.template, samples, parts)
            (sample,) = samples
            prompts.append(sample.ids[: sample.starts[0]])
            answers.append(answer_of(sample))
        prompt, (chosen, rejected) = prompts[0], answers
        if prompt != prompts[1]:
            raise Refused(
                "prompt_differs", "the chat template writes the prompt otherwise for each answer"
            )
        chosen, rejected = self._fitting(len(prompt), chosen, rejected)
        if chosen == rejected:
            raise Refused("same_answers", "both answers are the same tokens, as far as they go")
        self._count(record, prompt, chosen, rejected)
        return {
            "id": record["id"],
            "input_ids": prompt + chosen,
            "labels": [IGNORED] * len(prompt) + chosen,
            "length": len(prompt) + len(chosen),
            "rejected_ids": rejected,
            "answer_start": len(prompt),
        }

    def _fitting(self, before: int, *answers: list[int]) -> tuple[list[int], ...]:
        """Return the answers cut to what max_length leaves behind ``before`` tokens of prompt."""
        longest, limit = before + max(map(len, answers)), self.spec["max_length"]
        self.whole_lengths[longest] += 1
        if longest <= limit:
            return answers
        self.counts["overlong"] += 1
        drops = self.spec["overlong"] == "drop"
        if drops or before >= limit:
            what = "max_length" if drops else "nothing left to train"
            raise Refused("overlong", f"{longest} tokens, limit {limit} ({what})")
        self.counts["truncated"] += 1
        return tuple(answer[: limit - before] for answer in answers)

    def _count(self, record: dict, prompt: list[int], *answers: list[int]) -> None:
        template = self.template
        ends = [answer[-1] for answer in answers if answer[-1] in template.control_ids]
        self.ends.update(template.tokenizer.convert_ids_to_tokens(ends))
        tokens = [len(prompt) + len(answer) for answer in answers]
        self.counts.update(
            samples=1,
            tokens=sum(tokens),
            trained_tokens=sum(map(len, answers)),
            turns=len(answers),
            trained_end_of_turn=len(ends),
        )
        self.lengths.append(max(tokens))
        for side, answer in zip(("chosen", "rejected"), answers, strict=True):
            self.picked.add(
                {
                    "id": f"{record['id']} {side}",
                    "input_ids": prompt + answer,
                    "labels": [IGNORED] * len(prompt) + answer,
                    "length": len(prompt) + len(answer),
                }
            )


def answer_of(sample: Sample) -> list[int]:
    """Return the tokens of a sample's one answer with its end; raise Refused if it has gaps."""
    start = sample.starts[0]
    trained = [label != IGNORED for label in sample.labels]
    count = sum(trained)
    if not count or not all(trained[start : start + count]):
        raise Refused("mask_mismatch", "the answer is not one piece behind the prompt")
    return sample.ids[start : start + count]


if __name__ == "__main__":
    run_stage(lambda argv: main(argv, TemplatedPairs))
