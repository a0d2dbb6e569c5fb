"""Guards between templating and training that are not part of the mask itself.

docs/templates.md lists all guards with what each looks at and what it does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.chat_templates import ChatTemplate, Refused
from sftflow.stage import StageError
from sftflow.templatedrows import Part, Sample

LARGE_LOSS = 0.1  # share of rows that a template refuses before somebody should look
MANY_CUT = 0.1  # share of turns that are cut before their end before somebody should look


def model_limits(model: Path) -> tuple[int | None, int | None]:
    """Return the longest sequence and the number of embedding rows from config.json."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config", config)
    return config.get("max_position_embeddings"), config.get("vocab_size")


def check_limits(model: Path, tokenizer: Any, max_length: int) -> None:
    """Raise StageError if rows could be longer, or ids higher, than the model can take."""
    positions, vocabulary = model_limits(model)
    if positions is not None and max_length > positions:
        raise StageError(
            f"max_length {max_length} is more than {model.name}'s {positions} positions "
            "(max_position_embeddings); lower max_length"
        )
    if vocabulary is not None and len(tokenizer) > vocabulary:
        raise StageError(
            f"{model.name}: the tokenizer has {len(tokenizer)} tokens, the model embeds only "
            f"{vocabulary}; it is the tokenizer of another model"
        )


def check_served(template: ChatTemplate, samples: Sequence[Sample], parts: Sequence[Part]) -> None:
    """Compare the tokens before each answer with what ``apply_chat_template`` makes of the prompt.

    That is what a server does. Raises Refused with double_bos if a sample begins with two of
    them, and StageError if a model would be trained behind another prompt than it is served.
    """
    bos = template.tokenizer.bos_token_id
    for sample, part in zip(samples, parts, strict=True):
        if bos is not None and sample.ids[:2] == [bos, bos]:
            raise Refused("double_bos", "the tokens begin with two BOS tokens")
        for k, start in zip(part.turns, sample.starts, strict=True):
            prompt = template.tokenizer.apply_chat_template(
                part.messages[:k], tools=part.tools, add_generation_prompt=True, return_dict=True
            )["input_ids"]
            if sample.ids[:start] != list(prompt):
                raise StageError(
                    f"{template.name}: row {sample.name}: the {start} tokens before message {k} "
                    f"are not the {len(prompt)} that apply_chat_template makes of the prompt; a "
                    "model would be trained behind another prompt than it is served"
                )


def leaves_out_reasoning(template: ChatTemplate, parts: Sequence[Part]) -> bool:
    """Say whether a record has thinking that the template does not write."""
    return not template.renders_reasoning and any(
        answer.get("reasoning_content") for part in parts for answer in part.rendered.answers
    )


def worth_a_look(split: str, counts: Mapping[str, Any]) -> list[str]:
    """Return sentences about what a template made of a split and nobody may expect."""
    told = []
    lost = sum(counts["rejected"].values())
    if counts["rows"] and lost > LARGE_LOSS * counts["rows"]:
        most = max(counts["rejected"], key=counts["rejected"].get)
        told.append(
            f"{split}: {lost} of {counts['rows']} rows leave no sample, most of them for {most} "
            "(rejected.parquet has each with its reason)"
        )
    cut = counts["turns"] - counts["trained_end_of_turn"]
    if cut > MANY_CUT * counts["turns"]:
        told.append(
            f"{split}: {cut:,} of {counts['turns']:,} turns with loss are cut at max_length before "
            "their end-of-turn, so that the model may not learn to stop; raise max_length or set "
            "overlong: drop"
        )
    if counts["rows_split_by_turn"]:
        told.append(
            f"{split}: {counts['rows_split_by_turn']} rows are a sample per turn, because what "
            "stands before a later turn is not how the row begins (docs/templates.md)"
        )
    if counts.get("reasoning_left_out"):
        told.append(
            f"{split}: {counts['reasoning_left_out']} rows have thinking that the chat template "
            "leaves out; choose one that writes it (chatml does) or set reasoning: drop"
        )
    return told
