"""Where the assistant's turns stand in a rendered conversation: spans of characters.

A turn begins where the prompt ends that a server would render for it, and ends with its
end-of-turn token. Whether a turn may be trained inside a longer conversation is decided here:
only if the text before it is, to the character, the prompt that the server would render at that
turn. A template that writes earlier turns otherwise once others follow (thinking removed, the
system text moved to the last question) raises PrefixChanged, and each turn is its own sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sftflow.masks import Span

if TYPE_CHECKING:
    from sftflow.chat_templates import ChatTemplate

Messages = Sequence[Mapping[str, Any]]


class Refused(Exception):
    """A row that can't be templated: a short code and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep both parts."""
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class PrefixChanged(Exception):
    """A template that rewrites earlier turns: a prefix of the turns is not one of the text."""


def common_prefix(a: str, b: str) -> str:
    """Return how both texts begin."""
    if b.startswith(a) or a.startswith(b):
        return min(a, b, key=len)
    return a[: next(at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)]


def located(
    template: ChatTemplate, messages: Messages, tools: list | None, turns: Sequence[int]
) -> tuple[str, list[Span]]:
    """Return the text of a conversation and the spans of its assistant messages ``turns``.

    Raises Refused if a turn has no end, and PrefixChanged if the turns can only be located one
    by one.
    """
    if template.opening:
        return _behind_opening(template, messages, tools, turns)
    if template.has_markers:
        return _marked(template, messages, tools, turns)
    try:
        return _by_prefix(template, messages, tools, turns)
    except PrefixChanged:
        return _behind_prompt(template, messages, tools, turns)


def whole_text(template: ChatTemplate, messages: Messages, tools: list | None) -> str:
    """Return the text of a conversation, up to the end of an answer that comes last.

    Where a template leaves that end to the next turn (``ending``), the next turn is a tool's
    result behind a call, and else a question.
    """
    text = template.render(messages, tools)
    if not template.ending or messages[-1]["role"] != "assistant":
        return text
    if messages[-1].get("tool_calls"):
        longer = template.render([*messages, {"role": "tool", "content": ""}], tools)
        found = template.control_text.search(longer, len(text))
        if found and longer.startswith(text):
            return longer[: found.end()]
    return text + template.ending


def _by_prefix(
    template: ChatTemplate, messages: Messages, tools: list | None, turns: Sequence[int]
) -> tuple[str, list[Span]]:
    """Locate turns as what each message adds after its generation prompt."""
    text = whole_text(template, messages, tools)
    spans = []
    for k in turns:
        prompt = template.render(messages[:k], tools, prompt=True)
        upto = text if k + 1 == len(messages) else whole_text(template, messages[: k + 1], tools)
        if not text.startswith(prompt) or not upto.startswith(prompt):
            raise PrefixChanged
        spans.append(_until_end_of_turn(template, text, upto, len(prompt), k))
    return text, spans


def _until_end_of_turn(template: ChatTemplate, text: str, upto: str, start: int, turn: int) -> Span:
    """Return the span of a turn that begins at ``start`` and is the last one of ``upto``.

    ``text`` may go on otherwise than ``upto`` behind the turn (some templates write an eos token
    at the end of all), but not within it.
    """
    end = len(common_prefix(text, upto))
    at = upto.rfind(template.end_of_turn, start)
    ends_at = at + len(template.end_of_turn) if at >= 0 else _last_control(template, upto, start)
    if ends_at is None or template.control_text.sub("", upto[ends_at:]).strip():
        raise Refused(
            "no_end_of_turn",
            f"message {turn} is not followed by an end-of-turn token in the chat template",
        )
    if ends_at > end:
        raise PrefixChanged
    return start, ends_at


def _last_control(template: ChatTemplate, text: str, start: int) -> int | None:
    """Return where the last control token behind ``start`` ends: some turns end with another."""
    last = None
    for found in template.control_text.finditer(text, start):
        last = found.end()
    return last


def _behind_prompt(
    template: ChatTemplate, messages: Messages, tools: list | None, turns: Sequence[int]
) -> tuple[str, list[Span]]:
    """Return the prompt as it is served and, behind it, the last turn as the template ends it.

    For templates whose prompt is not how the whole conversation begins, because something stands
    only in front of the question that is to be answered (Mistral's system text). What the prompt
    ends with, from its last control token on, is where the answer begins in the whole.
    """
    k = turns[-1]
    thinks = template.renders_reasoning and messages[k].get("reasoning_content")
    if len(turns) > 1 or k + 1 < len(messages) or thinks:
        raise PrefixChanged
    prompt = template.render(messages[:k], tools, prompt=True)
    whole = whole_text(template, messages, tools)
    marks = list(template.control_text.finditer(prompt))
    content = whole.rfind(messages[k]["content"].strip()) if messages[k]["content"] else len(whole)
    ending = prompt[marks[-1].start() :] if marks else ""
    at = whole.rfind(ending, 0, content) if ending else -1
    if at < 0:
        raise PrefixChanged
    text = prompt + whole[at + len(ending) :]
    return text, [_until_end_of_turn(template, text, text, len(prompt), k)]


def _behind_opening(
    template: ChatTemplate, messages: Messages, tools: list | None, turns: Sequence[int]
) -> tuple[str, list[Span]]:
    """Return the prompt as it is served and, behind it, what the model has to say.

    For templates that open an answer with ``<think>`` when they are asked for one, but leave
    all thinking out of a whole conversation (DeepSeek-R1): the turn goes on from what the prompt
    has opened, closes it and answers. So each turn is a sample of its own.
    """
    if len(turns) > 1 or turns[-1] + 1 < len(messages):
        raise PrefixChanged
    k = turns[-1]
    prompt = template.render(messages[:k], tools, prompt=True)
    whole = whole_text(template, messages, tools)
    before = prompt.removesuffix(template.opening)
    if before == prompt or not whole.startswith(before):
        raise PrefixChanged
    thought = (messages[k].get("reasoning_content") or "").strip()
    closing = "\n" + template.opening.strip().replace("<", "</", 1) + "\n\n"
    said = thought + closing + whole[len(before) :].lstrip("\n")
    return prompt + said, [
        _until_end_of_turn(template, prompt + said, prompt + said, len(prompt), k)
    ]


def _marked(
    template: ChatTemplate, messages: Messages, tools: list | None, turns: Sequence[int]
) -> tuple[str, list[Span]]:
    """Locate turns by the template's markers, with the end-of-turn token that follows."""
    text, marked = template.marked(messages, tools)
    assistants = [k for k, m in enumerate(messages) if m["role"] == "assistant"]
    if len(marked) != len(assistants):
        raise Refused(
            "turns_not_marked",
            f"the chat template marks {len(marked)} of {len(assistants)} assistant turns",
        )
    spans = []
    for k, (start, end) in zip(assistants, marked, strict=True):
        if k not in turns:
            continue
        prompt = template.render(messages[:k], tools, prompt=True)
        thought = (messages[k].get("reasoning_content") or "").strip()
        if not text.startswith(prompt) or (
            template.renders_reasoning and thought not in text[start:end]
        ):
            raise PrefixChanged
        if start < len(prompt) or not text[len(prompt) : start].strip():
            start = len(prompt)  # a header is given to the model, white space behind it is not
        spans.append(_with_end_of_turn(template, text, start, end, k))
    return text, spans


def _with_end_of_turn(template: ChatTemplate, text: str, start: int, end: int, turn: int) -> Span:
    """Return a marked span that ends with its end-of-turn token, added if outside."""
    inside = text[start:end].rstrip()
    if inside.endswith(template.end_of_turn):
        return start, start + len(inside)
    at = text.find(template.end_of_turn, end)
    if at >= 0 and not template.control_text.sub("", text[end:at]).strip():
        return start, at + len(template.end_of_turn)
    for found in template.control_text.finditer(inside):  # another token may end this turn
        if found.end() == len(inside):
            return start, start + len(inside)
    following = template.control_text.match(text, end)
    if not following:
        raise Refused(
            "no_end_of_turn", f"the marked text of message {turn} has no end-of-turn token"
        )
    return start, following.end()
