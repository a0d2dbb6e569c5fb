"""Sample answers of a training: a few prompts, answered at each evaluation, for the eye."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from sftflow.continuations import continuations
from sftflow.manifests import write_text
from sftflow.masks import IGNORED


class Answers(TrainerCallback):
    """At each evaluation the model answers the same few prompts, greedily, into a file."""

    def __init__(self, rows: Sequence[dict], tokenizer: Any, folder: Path) -> None:
        """Take prompt and reference of each row from its first trained turn."""
        self.tokenizer, self.folder = tokenizer, folder
        self.prompts, self.references = [], []
        for row in rows:
            trained = [label != IGNORED for label in row["labels"]]
            start = trained.index(True)
            end = trained.index(False, start) if False in trained[start:] else len(trained)
            self.prompts.append(row["input_ids"][:start])
            self.references.append(row["input_ids"][start:end])

    def on_evaluate(self, _args, state, _control, model=None, **_kwargs) -> None:
        """Write step-N.jsonl: prompt, reference, answer, whether it ended by itself."""
        if self.prompts and state.is_world_process_zero:
            lines = [json.dumps(a, ensure_ascii=False) for a in self.answers(model)]
            write_text(self._file(state), "\n".join(lines) + "\n")

    def on_train_end(self, args, state, control, **kwargs) -> None:
        """Answer at the end too if nothing was evaluated there (no validation rows)."""
        if state.global_step >= state.max_steps and not self._file(state).is_file():
            self.on_evaluate(args, state, control, **kwargs)

    def _file(self, state) -> Path:
        return self.folder / f"step-{state.global_step:06d}.jsonl"

    def answers(self, model: Any) -> list[dict[str, Any]]:
        """Return the answers; all prompts go in one batch."""
        ends = {reference[-1] for reference in self.references}
        most = min(256, 16 + 2 * max(map(len, self.references)))
        pad = self.tokenizer.pad_token_id or 0
        told = continuations(model, self.prompts, ends, most, pad, len(self.prompts))
        return [
            {
                "prompt": self.tokenizer.decode(prompt),
                "reference": self.tokenizer.decode(reference[:-1]),
                "answer": self.tokenizer.decode(said.ids),
                "ended": said.ended,
            }
            for prompt, reference, said in zip(self.prompts, self.references, told, strict=True)
        ]
