"""Which tokens of a conversation carry loss: from spans of characters to labels.

A span is a half-open pair of character positions in the rendered text. What it covers is
what the model is to say itself: an assistant turn with its end-of-turn token. Everything
else has label ``IGNORED``, which PyTorch's cross entropy leaves out.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence, Set
from typing import Any

IGNORED = -100
THOUGHT_HERE = "\0"

Span = tuple[int, int]


def first_token(offsets: Sequence[Span], place: int) -> int:
    """Return the first token that begins at or behind a character; the number of tokens if none."""
    return bisect_left(offsets, place, key=lambda offset: offset[0])


def spans_of_tokens(offsets: Sequence[Span], spans: Sequence[Span]) -> list[int | None]:
    """Return for each token the number of the span that it begins in, None outside of all.

    A span's last token may reach beyond it: some end-of-turn tokens take in the white space that
    follows them. Which token a span begins with is decided by the caller (``served_prompt``).
    """
    found: list[int | None] = []
    place = 0
    for start, _end in offsets:
        while place < len(spans) and spans[place][1] <= start:
            place += 1
        inside = place < len(spans) and spans[place][0] <= start
        found.append(place if inside else None)
    return found


def labels_in_spans(
    ids: Sequence[int], offsets: Sequence[Span], spans: Sequence[Span]
) -> list[int]:
    """Return ``ids`` where a token begins in a span, ``IGNORED`` elsewhere."""
    inside = spans_of_tokens(offsets, spans)
    return [i if at is not None else IGNORED for i, at in zip(ids, inside, strict=True)]


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


def decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return the text of ``ids`` with control tokens and white space untouched."""
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _without(text: str, part: str, tokenizer: Any) -> str | None:
    """Return ``text`` without the last ``part`` in it, None if there is none.

    Some tokenizers change text (Unicode normal forms, spaces), so ``part`` may stand there as
    what remains of it after a round through the tokenizer.
    """
    if part not in text:
        part = decoded(tokenizer, tokenizer(part, add_special_tokens=False).input_ids).strip()
    at = text.rfind(part)
    return text[:at] + text[at + len(part) :] if at >= 0 else None


def squeezed(text: str) -> str:
    """Return a text without white space and tags of thinking."""
    return re.sub(r"</?think(ing)?>|\s", "", text)


def frame_of(
    tokenizer: Any, control: re.Pattern[str], said: str, message: Mapping[str, Any]
) -> str | None:
    """Return what stands in a turn beside its message's text, None if that is not in it.

    It is the thinking, squeezed, and words that the template itself puts into answers (the names
    of gpt-oss' channels), as a rule none.
    """
    # Control tokens go first: a text may be the last letters of one.
    rest = _without(control.sub(" ", said), message["content"].strip(), tokenizer)
    return None if rest is None else squeezed(rest)


def _is_framed(tokenizer: Any, frame: str, message: Mapping[str, Any], frames: Set[str]) -> bool:
    """Say whether what stands beside a text is nothing, its thinking, or one of ``frames``."""
    thought = (message.get("reasoning_content") or "").strip()
    again = decoded(tokenizer, tokenizer(thought, add_special_tokens=False).input_ids)
    thoughts = {squeezed(thought), squeezed(again)}
    known = {"", THOUGHT_HERE, *frames}  # a template may leave it out
    return any(frame == one.replace(THOUGHT_HERE, said) for one in known for said in thoughts)


def mask_fault(
    tokenizer: Any,
    control: re.Pattern[str],
    labels: Sequence[int],
    answers: Sequence[Mapping[str, Any]],
    frames: Set[str] = frozenset(),
) -> str | None:
    """Compare the decoded trained tokens with the assistant messages themselves.

    Return None if each run of trained tokens is one message (with what the template shows of
    its reasoning and tool calls) and a control token that ends it, and nothing else but white
    space or one of ``frames``. ``control`` matches control tokens; ``answers`` are the messages
    that carry loss; THOUGHT_HERE stands in a frame for the message's thinking.
    """
    runs = trained_runs(labels)
    if len(runs) != len(answers):
        return f"{len(runs)} trained stretches for {len(answers)} assistant turns"
    for run, message in zip(runs, answers, strict=True):
        said = decoded(tokenizer, run)
        if not control.fullmatch(decoded(tokenizer, run[-1:]).strip()):
            return f"trained {said!r}, which does not end with an end-of-turn token"
        frame = frame_of(tokenizer, control, said, message)
        plain = frame == "" or message.get("tool_calls")  # what a call adds is the template's
        if frame is None or not (plain or _is_framed(tokenizer, frame, message, frames)):
            return f"trained {said!r} for the assistant text {message['content']!r}"
    return None
