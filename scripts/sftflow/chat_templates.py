"""A model's chat template: what it renders and which part of that the model says itself.

Text is only ever rendered by transformers' ``apply_chat_template`` (its sandbox, its white
space rules), so training, server and benchmark see the same template. Where assistant turns
begin and end comes from the template's own ``{% generation %}`` markers if it has them and
otherwise from rendering growing prefixes of the conversation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sftflow.masks import Span
from sftflow.stage import StageError

MARKERS = re.compile(r"\{%-?\s*generation\s*-?%\}")  # as transformers looks for them
# Added tokens that are only white space or words are text; those in brackets are control.
CONTROL = re.compile(r"^\s*(<.+>|\[.+\]|<\|.*)\s*$", re.DOTALL)
PROBE = [{"role": "user", "content": "Qm7xk"}, {"role": "assistant", "content": "Zv4wj"}]


class Refused(Exception):
    """A row that can't be templated: a short code and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep both parts."""
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class PrefixChanged(Exception):
    """A template that rewrites earlier turns: a prefix of the turns is not one of the text."""


@dataclass
class Rendered:
    """One conversation as text, and the spans of its turns that carry loss."""

    text: str
    spans: list[Span]
    answers: list[Mapping[str, Any]]  # the assistant messages, one per span


class ChatTemplate:
    """A tokenizer with a chat template, probed once for what the masks need to know."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        """Probe the template; raise StageError if no model could learn to stop with it."""
        self.tokenizer, self.name = tokenizer, name
        if not tokenizer.chat_template:
            raise StageError(
                f"{name} has no chat template; choose one with bases: ... template: chatml"
            )
        text = tokenizer.get_chat_template()
        self.has_markers = bool(MARKERS.search(text))
        added = tokenizer.added_tokens_decoder
        self.control = {
            token.content: i
            for i, token in added.items()
            if token.special or CONTROL.match(token.content)
        }
        names = sorted(map(re.escape, self.control), key=len, reverse=True)
        self.control_text = re.compile("|".join(names)) if names else re.compile(r"(?!)")
        self._probe()

    def render(self, messages: Sequence[Mapping], tools: list | None, prompt: bool = False) -> str:
        """Return the text of ``messages``, with the generation prompt if ``prompt``."""
        return self.tokenizer.apply_chat_template(
            list(messages), tools=tools, tokenize=False, add_generation_prompt=prompt
        )

    def _probe(self) -> None:
        """Find the end-of-turn token; refuse clocks, double BOS and prefixes that change."""
        whole = self._probe_text()
        if self.render(PROBE, None) != whole or "strftime_now" in (
            self.tokenizer.get_chat_template()
        ):
            self._refuse_clock(whole)
        if whole.count(PROBE[1]["content"]) != 1:
            raise StageError(f"{self.name}: the chat template does not render an assistant's text")
        after = whole[whole.index(PROBE[1]["content"]) + len(PROBE[1]["content"]) :]
        found = self.control_text.search(after)
        if not found:
            raise StageError(
                f"{self.name}: after an assistant's text the chat template writes {after!r}, "
                "which holds no special token: the model would never learn to stop; end "
                "assistant turns with the tokenizer's eos token or choose another template"
            )
        self.end_of_turn = found.group()
        thought = [PROBE[0], {**PROBE[1], "reasoning_content": "Hd8tk"}]
        self.renders_reasoning = "Hd8tk" in self.render(thought, None)
        ids = self.tokenizer(whole, add_special_tokens=False).input_ids
        bos = self.tokenizer.bos_token_id
        if bos is not None and bos != self.control[self.end_of_turn] and ids[:2] == [bos, bos]:
            raise StageError(f"{self.name}: the chat template begins with two BOS tokens")
        prompt = self.render(PROBE[:1], None, prompt=True)
        if not whole.startswith(prompt):
            raise StageError(
                f"{self.name}: the chat template opens an answer with {prompt[-40:]!r} when it is "
                "asked for one, but not in the whole conversation, so a model would be trained "
                "behind other prompts than it is served; choose another template"
            )

    def _probe_text(self) -> str:
        from jinja2.exceptions import TemplateError

        try:
            return self.render(PROBE, None)
        except (TemplateError, TypeError, KeyError) as error:
            raise StageError(
                f"{self.name}: the chat template can't render a plain question and answer: {error}"
            ) from None

    def _refuse_clock(self, whole: str) -> None:
        fixed = self.tokenizer.apply_chat_template(
            PROBE, tokenize=False, strftime_now=lambda _format: "01 Jan 2001"
        )
        if fixed != whole:
            raise StageError(
                f"{self.name}: the chat template writes today's date, so each day would train "
                "on other prompts; put a fixed date into a copy of the template"
            )

    def rendered(self, messages: list[dict], tools: list | None, turns: Sequence[int]) -> Rendered:
        """Return the conversation's text with the spans of the assistant messages ``turns``.

        Raises Refused if the template refuses the row or drops a part of it, and
        PrefixChanged if the turns can only be located one by one.
        """
        from jinja2.exceptions import TemplateError

        try:
            if self.has_markers:
                text, spans = self._marked(messages, tools, turns)
            else:
                text, spans = self._by_prefix(messages, tools, turns)
        except (TemplateError, TypeError, KeyError) as error:
            raise Refused("template_refused", f"the chat template refused it: {error}") from None
        self._nothing_dropped(text, messages, tools)
        return Rendered(text, spans, [messages[k] for k in turns])

    def _by_prefix(
        self, messages: list[dict], tools: list | None, turns: Sequence[int]
    ) -> tuple[str, list[Span]]:
        """Locate turns as what each message adds after its generation prompt."""
        text = self.render(messages, tools)
        spans = []
        for k in turns:
            prompt = self.render(messages[:k], tools, prompt=True)
            upto = text if k + 1 == len(messages) else self.render(messages[: k + 1], tools)
            if not text.startswith(upto) or not upto.startswith(prompt):
                raise PrefixChanged
            spans.append(self._until_end_of_turn(text, len(prompt), len(upto), k))
        return text, spans

    def _until_end_of_turn(self, text: str, start: int, end: int, turn: int) -> Span:
        """Cut a turn behind its last control token; what follows may only be white space."""
        last = None
        for found in self.control_text.finditer(text, start, end):
            last = found
        if last is None or text[last.end() : end].strip():
            raise Refused(
                "no_end_of_turn",
                f"message {turn} is not followed by an end-of-turn token in the chat template",
            )
        return start, last.end()

    def _marked(
        self, messages: list[dict], tools: list | None, turns: Sequence[int]
    ) -> tuple[str, list[Span]]:
        """Locate turns by the template's markers, with the end-of-turn token that follows."""
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, indices = render_jinja_template(
            conversations=[messages],
            tools=tools,
            chat_template=self.tokenizer.get_chat_template(tools=tools),
            return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map,
        )
        text, marked = texts[0], indices[0]
        assistants = [k for k, m in enumerate(messages) if m["role"] == "assistant"]
        if len(marked) != len(assistants):
            raise Refused(
                "turns_not_marked",
                f"the chat template marks {len(marked)} of {len(assistants)} assistant turns",
            )
        spans = {}
        for k, (start, end) in zip(assistants, marked, strict=True):
            spans[k] = self._with_end_of_turn(text, start, end, k)
            reasoning = messages[k].get("reasoning_content", "").strip()
            if self.renders_reasoning and reasoning not in text[start:end]:
                raise PrefixChanged
        last = turns[-1]
        if not text[: spans[last][0]].startswith(self.render(messages[:last], tools, prompt=True)):
            raise PrefixChanged
        return text, [spans[k] for k in turns]

    def _with_end_of_turn(self, text: str, start: int, end: int, turn: int) -> Span:
        """Return a marked span that ends with its end-of-turn token, added if outside."""
        inside = text[start:end].rstrip()
        for found in self.control_text.finditer(inside):
            if found.end() == len(inside):
                return start, start + len(inside)
        following = self.control_text.match(text, end)
        if not following:
            raise Refused(
                "no_end_of_turn", f"the marked text of message {turn} has no end-of-turn token"
            )
        return start, following.end()

    def _nothing_dropped(self, text: str, messages: list[dict], tools: list | None) -> None:
        """Raise Refused if a message's text, a tool or a tool call is not in the render."""
        for k, message in enumerate(messages):
            if message["content"].strip() not in text:
                raise Refused(
                    "text_dropped",
                    f"the {message['role']} text of message {k} is not in the rendered prompt",
                )
            for call in message.get("tool_calls", ()):
                if str(call["function"].get("name")) not in text:
                    raise Refused(
                        "tool_call_dropped", f"the chat template ignores tool calls (message {k})"
                    )
        for tool in tools or ():
            if str(tool["function"].get("name")) not in text:
                raise Refused("tools_dropped", "the chat template ignores the tools of this row")

    def typed_control(self, messages: Sequence[Mapping], tools: str | None) -> str | None:
        """Return a control token that stands in the text of a row, or None."""
        normalizer = self.tokenizer.backend_tokenizer.normalizer
        texts = [tools or ""]
        for message in messages:
            texts += [message["content"] or "", message.get("reasoning") or ""]
            texts += [message.get("tool_calls") or ""]
        for text in texts:
            found = self.control_text.search(text)
            if not found and normalizer is not None and text:
                found = self.control_text.search(normalizer.normalize_str(text))
            if found:
                return found.group()
        return None
