"""From a record to the token ids and labels of its training samples.

As a rule a record is one sample with all its turns. It is one sample per turn where the text
or the tokens before a turn would not be those that a server makes of the conversation at that
turn: a model must not be trained behind prompts that it never sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sftflow.chat_templates import ChatTemplate, PrefixChanged, Refused, Rendered
from sftflow.conversations import template_messages, template_tools
from sftflow.masks import IGNORED, Span, decoded, first_token, mask_fault, spans_of_tokens

LONGEST_REMEMBERED = 200  # characters of a prompt's end that is tokenised once for all rows


@dataclass
class Part:
    """One text to be tokenised: a conversation with the turns of it that carry loss."""

    name: str  # the sample's id
    messages: list[dict[str, Any]]  # as chat templates read them
    tools: list | None
    turns: list[int]  # places of the assistant messages with loss
    weights: list[float]  # of these messages
    rendered: Rendered


@dataclass
class Sample:
    """Tokens and their loss, one entry per token in each list."""

    name: str
    ids: list[int]
    labels: list[int]  # IGNORED where no loss
    weights: list[float]  # of the loss; 0 where there is none
    answers: list[Mapping[str, Any]]  # the assistant messages with loss
    starts: list[int]  # the first token of each of them


def trained_turns(messages: Sequence[Mapping], train_on: str) -> list[int]:
    """Return the places of the assistant messages that carry loss (weight 0 means none)."""
    turns = [k for k, m in enumerate(messages) if m["role"] == "assistant" and m.get("weight") != 0]
    if not turns:
        raise Refused("no_trained_turn", "no assistant message carries loss")
    return turns[-1:] if train_on == "last" else turns


def parts_of(
    template: ChatTemplate, record: Mapping[str, Any], train_on: str, reasoning: str
) -> list[Part]:
    """Return the texts that a record is trained in: one, or one per turn."""
    token = template.typed_control(record["messages"], record["tools"])
    if token:
        hint = "; sources.*.reasoning_tags takes thinking out of answers" * ("think" in token)
        raise Refused("control_token_in_text", f"the text holds the control token {token}{hint}")
    turns = trained_turns(record["messages"], train_on)
    messages = template_messages(record["messages"], reasoning != "drop")[: turns[-1] + 1]
    tools = template_tools(record["tools"])
    given = [record["messages"][k].get("weight") for k in turns]
    weights = [1.0 if weight is None else weight for weight in given]
    try:
        rendered = template.rendered(messages, tools, turns)
    except PrefixChanged:
        return parts_by_turn(template, record["id"], messages, tools, turns, weights)
    return [Part(record["id"], messages, tools, turns, weights, rendered)]


def parts_by_turn(
    template: ChatTemplate,
    name: str,
    messages: list[dict],
    tools: list | None,
    turns: Sequence[int],
    weights: Sequence[float],
) -> list[Part]:
    """Return one text per turn; raise Refused if a turn is not found even so."""
    found = []
    for k, weight in zip(turns, weights, strict=True):
        upto = messages[: k + 1]
        try:
            rendered = template.rendered(upto, tools, [k])
        except PrefixChanged:
            why = "the chat template does not continue its own generation prompt"
            if messages[k].get("reasoning_content"):
                why += "; if it is told to open answers without thinking, set reasoning: drop"
            elif template.renders_reasoning:
                why += "; if it opens answers with thinking, this one has none"
            raise Refused("turn_not_located", f"message {k}: {why}") from None
        found.append(Part(f"{name}-{k}", upto, tools, [k], [weight], rendered))
    return found


def samples_of(
    template: ChatTemplate, parts: Sequence[Part], reasoning: str = "train"
) -> list[Sample]:
    """Return the samples of one record's parts; see ``encoded`` for many at once."""
    ((samples, _),) = encoded(template, [parts], reasoning)
    if isinstance(samples, Refused):
        raise samples
    return samples


def encoded(
    template: ChatTemplate, rows: Sequence[Sequence[Part]], reasoning: str
) -> Iterator[tuple[list[Sample] | Refused, Sequence[Part]]]:
    """Yield for the parts of each record its samples, or why there is none, and the parts used.

    All texts are tokenised at once; no BOS is added, templates write their own.
    """
    texts = [part.rendered.text for parts in rows for part in parts]
    whole = iter(_tokens(template.tokenizer, texts))
    for parts in rows:
        tokens = [next(whole) for _ in parts]
        try:
            yield _samples(template, parts, tokens, reasoning)
        except Refused as refused:
            yield refused, parts


def _tokens(tokenizer: Any, texts: list[str]) -> Iterable[tuple[list[int], list[Span]]]:
    if not texts:
        return []
    made = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    return zip(made["input_ids"], made["offset_mapping"], strict=True)


def _samples(
    template: ChatTemplate,
    parts: Sequence[Part],
    tokens: Sequence[tuple[list[int], list[Span]]],
    reasoning: str,
) -> tuple[list[Sample], Sequence[Part]]:
    """Label each part; go over to one sample per turn if tokens join an answer to its prompt."""
    if len(parts) == 1 and len(parts[0].turns) > 1:
        (part,), ((ids, offsets),) = parts, tokens
        text = part.rendered.text
        if not all(
            served_prompt(template, text, ids, offsets, start) for start, _ in part.rendered.spans
        ):
            parts = parts_by_turn(
                template, part.name, part.messages, part.tools, part.turns, part.weights
            )
            tokens = list(_tokens(template.tokenizer, [p.rendered.text for p in parts]))
    made = [
        _labelled(template, part, ids, offsets, reasoning)
        for part, (ids, offsets) in zip(parts, tokens, strict=True)
    ]
    return made, parts


def _labelled(
    template: ChatTemplate, part: Part, ids: list[int], offsets: list[Span], reasoning: str
) -> Sample:
    """Return a sample, checked; raise Refused if its mask is not what the messages say."""
    text, spans = part.rendered.text, part.rendered.spans
    if not all(served_prompt(template, text, ids, offsets, start) for start, _ in spans):
        ids, offsets = _cut(template, text, ids, spans[-1][0])
    inside = spans_of_tokens(offsets, spans)
    labels = [i if at is not None else IGNORED for i, at in zip(ids, inside, strict=True)]
    fault = mask_fault(
        template.tokenizer, template.control_text, labels, part.rendered.answers, template.frames
    )
    if fault:
        raise Refused("mask_mismatch", fault)
    if reasoning == "context":
        for span, answer in zip(spans, part.rendered.answers, strict=True):
            start, end = thinking(template, text, span, answer)
            for at in range(first_token(offsets, start), len(offsets)):
                if offsets[at][1] > end:
                    break
                labels[at] = IGNORED
    weights = [
        part.weights[at] if at is not None and label != IGNORED else 0.0
        for at, label in zip(inside, labels, strict=True)
    ]
    starts = [first_token(offsets, start) for start, _ in spans]
    return Sample(part.name, ids, labels, weights, part.rendered.answers, starts)


def served_prompt(
    template: ChatTemplate, text: str, ids: list[int], offsets: list[Span], start: int
) -> bool:
    """Say whether the tokens before ``start`` are those of the text before it, taken alone.

    At serving time the prompt is tokenised alone. A template's white space may merge with the
    answer's own, or be cut otherwise without it, even where a token ends at ``start``. Tokenizers
    cut texts at control tokens first, so only what follows the last of them is looked at.
    """
    end = begin = first_token(offsets, start)
    while begin and ids[begin - 1] not in template.control_ids:
        begin -= 1
    at = offsets[begin - 1][0] if begin else 0
    return _alone(template.tokenizer, text[at:start]) == ids[max(begin - 1, 0) : end]


def _alone(tokenizer: Any, text: str) -> list[int]:
    if len(text) <= LONGEST_REMEMBERED:
        return _remembered(tokenizer, text)
    return tokenizer(text, add_special_tokens=False).input_ids


@lru_cache(maxsize=4096)
def _remembered(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False).input_ids


def _cut(
    template: ChatTemplate, text: str, ids: list[int], start: int
) -> tuple[list[int], list[Span]]:
    """Tokenise prompt and answer apart; raise Refused if that says another text.

    The answer is tokenised behind a control token, which never merges: at the beginning of a
    text some tokenizers put a space.
    """
    before = template.end_of_turn
    tokenizer = template.tokenizer
    (prompt, first), (answer, second) = _tokens(tokenizer, [text[:start], before + text[start:]])
    cut = [*prompt, *answer[1:]]
    if answer[:1] != [template.control[before]] or decoded(tokenizer, cut) != decoded(
        tokenizer, ids
    ):
        raise Refused(
            "token_over_edge",
            "a token covers the prompt's end and the answer's beginning; end the template's "
            "generation prompt without white space",
        )
    shift = start - len(before)
    return cut, [*first, *((begin + shift, end + shift) for begin, end in second[1:])]


def thinking(template: ChatTemplate, text: str, span: Span, answer: Mapping[str, Any]) -> Span:
    """Return where in a turn's span its thinking stands, tags included; nothing if it has none."""
    start, end = span
    thought, said = (answer.get("reasoning_content") or "").strip(), answer["content"].strip()
    if not thought or not template.renders_reasoning:  # its words may be in the answer too
        return start, start
    for found in reversed([*template.control_text.finditer(text, start, end)]):
        if found.end() == end:
            end = found.start()  # and the answer may be a letter of the end-of-turn token
    if not answer.get("tool_calls"):
        at = text.rfind(said, start, end)
        return (start, at) if thought in text[start : max(at, start)] else (start, start)
    at = text.find(thought, start, end)
    if at < 0:
        return start, start
    behind = at + len(thought)
    if said and (found_at := text.find(said, behind, end)) >= 0:
        return start, found_at
    closed = text.find(">", behind, end)  # up to the tag that closes the thinking
    return start, closed + 1 if closed >= 0 else behind
