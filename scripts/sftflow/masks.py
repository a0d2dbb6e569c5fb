"""Which tokens of a conversation carry loss: from spans of characters to labels.

A span is a half-open pair of character positions in the rendered text. What it covers is
what the model is to say itself: an assistant turn with its end-of-turn token. Everything
else has label ``IGNORED``, which PyTorch's cross entropy leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

IGNORED = -100

Span = tuple[int, int]


def straddles(offsets: Sequence[Span], spans: Sequence[Span]) -> bool:
    """Say whether a token stands on both sides of a span's edge.

    At serving time the prompt is tokenised alone, so such a token (a template's newline
    merged with the answer's own, say) would never be what the model continues from.
    """
    edges = sorted({edge for span in spans for edge in span})
    place = 0
    for start, end in offsets:
        while place < len(edges) and edges[place] <= start:
            place += 1
        if place < len(edges) and edges[place] < end:
            return True
    return False


def pieces(text: str, spans: Sequence[Span]) -> list[tuple[str, bool]]:
    """Cut ``text`` at the spans' edges; each piece comes with whether it carries loss."""
    cut, at = [], 0
    for start, end in spans:
        cut += [(text[at:start], False), (text[start:end], True)]
        at = end
    cut.append((text[at:], False))
    return [(piece, trained) for piece, trained in cut if piece]


def labels_in_spans(
    ids: Sequence[int], offsets: Sequence[Span], spans: Sequence[Span]
) -> list[int]:
    """Return ``ids`` where a token lies in a span, ``IGNORED`` elsewhere; no token may straddle."""
    labels = [IGNORED] * len(ids)
    place = 0
    for index, (start, end) in enumerate(offsets):
        while place < len(spans) and spans[place][1] <= start:
            place += 1
        if place < len(spans) and spans[place][0] <= start and end <= spans[place][1]:
            labels[index] = ids[index]
    return labels


def trained_runs(labels: Sequence[int]) -> list[list[int]]:
    """Return the runs of neighbouring trained tokens, in order."""
    runs: list[list[int]] = []
    before = IGNORED
    for label in labels:
        if label != IGNORED:
            if before == IGNORED:
                runs.append([])
            runs[-1].append(label)
        before = label
    return runs


def trained_count(labels: Sequence[int]) -> int:
    """Return how many tokens carry loss; the first is never predicted and doesn't count."""
    return sum(label != IGNORED for label in labels[1:])


def tokenized(
    tokenizer: Any, text: str, spans: Sequence[Span], ids: list[int], offsets: Sequence[Span]
) -> tuple[list[int], list[int]] | None:
    """Return input ids and labels of a text, or None if a token can't be cut at a span's edge.

    ``ids`` and ``offsets`` are those of the whole text.
    """
    if not straddles(offsets, spans):
        return ids, labels_in_spans(ids, offsets, spans)
    cut_ids: list[int] = []
    labels: list[int] = []
    for piece, trained in pieces(text, spans):
        part = tokenizer(piece, add_special_tokens=False).input_ids
        cut_ids += part
        labels += part if trained else [IGNORED] * len(part)
    return (cut_ids, labels) if decoded(tokenizer, cut_ids) == decoded(tokenizer, ids) else None


def decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return the text of ``ids`` with control tokens and white space untouched."""
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _without(text: str, part: str, tokenizer: Any) -> str | None:
    """Return ``text`` without ``part``, None if it is not in it.

    Some tokenizers change text (Unicode normal forms, spaces), so ``part`` may stand there as
    what remains of it after a round through the tokenizer.
    """
    if part not in text:
        part = decoded(tokenizer, tokenizer(part, add_special_tokens=False).input_ids).strip()
    return text.replace(part, "", 1) if part in text else None


def mask_fault(
    tokenizer: Any,
    control: re.Pattern[str],
    labels: Sequence[int],
    answers: Sequence[Mapping[str, Any]],
) -> str | None:
    """Compare the decoded trained tokens with the assistant messages themselves.

    Return None if each run of trained tokens is one message (with what the template shows of
    its reasoning and tool calls) and a control token that ends it, and nothing else but white
    space. ``control`` matches control tokens; ``answers`` are the messages that carry loss.
    """
    runs = trained_runs(labels)
    if len(runs) != len(answers):
        return f"{len(runs)} trained stretches for {len(answers)} assistant turns"
    for run, message in zip(runs, answers, strict=True):
        said = decoded(tokenizer, run)
        if not control.fullmatch(decoded(tokenizer, run[-1:]).strip()):
            return f"trained {said!r}, which does not end with an end-of-turn token"
        rest: str | None = said
        reasoning = message.get("reasoning_content", "").strip()
        if reasoning:  # a template may leave it out
            rest = _without(said, reasoning, tokenizer) or said
        rest = _without(rest, message["content"].strip(), tokenizer)
        if rest is None:
            return f"trained {said!r} for the assistant text {message['content']!r}"
        rest = re.sub(r"</?think(ing)?>|\s", "", control.sub("", rest))
        if rest and not message.get("tool_calls"):
            return f"trained {said!r} for the assistant text {message['content']!r}"
    return None
