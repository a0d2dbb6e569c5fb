"""A model's chat template: what it renders and which part of that the model says itself.

Text is only ever rendered by transformers' ``apply_chat_template`` (its sandbox, its white
space rules), so training, server and benchmark see the same template. Where assistant turns
begin and end is found by ``turnspans``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sftflow.masks import THOUGHT_HERE, Span, frame_of
from sftflow.stage import StageError
from sftflow.turnspans import PrefixChanged, Refused, common_prefix, located

__all__ = ["PROBE", "ChatTemplate", "PrefixChanged", "Refused", "Rendered"]

MARKERS = re.compile(r"\{%-?\s*generation\s*-?%\}")  # as transformers looks for them
# Added tokens that are only white space or words are text; those in brackets are control.
CONTROL = re.compile(r"^\s*(<.+>|\[.+\]|<\|.*)\s*$", re.DOTALL)
OPENING = re.compile(r"\s*<(think|thinking|thought|reasoning)>\s*")
PROBE = [{"role": "user", "content": "Qm7xk"}, {"role": "assistant", "content": "Zv4wj"}]
THOUGHT, FURTHER = "Hd8tk", "Wp5yt"
THINKING = {**PROBE[1], "reasoning_content": THOUGHT, "reasoning": THOUGHT}


@dataclass
class Rendered:
    """One conversation as text, and the spans of its turns that carry loss."""

    text: str
    spans: list[Span]
    answers: list[Mapping[str, Any]]  # the assistant messages, one per span


class ChatTemplate:
    """A tokenizer with a chat template, probed once for what the masks need to know.

    Beside what the probe finds: ``notes`` are sentences about what is odd and can be lived with.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        """Probe the template; raise StageError if no model could learn to stop with it."""
        self.tokenizer, self.name = tokenizer, name
        self.notes: list[str] = []
        if not tokenizer.chat_template:
            raise StageError(
                f"{name} has no chat template; choose one with bases: ... template: chatml"
            )
        added = tokenizer.added_tokens_decoder
        self.control = {
            token.content: i
            for i, token in added.items()
            if token.special or CONTROL.match(token.content)
        }
        self.control_ids = frozenset(self.control.values())
        # SentencePiece's decoders write a space for a ▁ of a token (DeepSeek's), or nothing.
        names = {token.replace("▁", space) for token in self.control for space in ("▁", " ", "")}
        found = sorted(map(re.escape, names), key=lambda name: (-len(name), name))
        self.control_text = re.compile("|".join(found)) if found else re.compile(r"(?!)")
        self._probe()

    def render(self, messages: Sequence[Mapping], tools: list | None, prompt: bool = False) -> str:
        """Return the text of ``messages``, with the generation prompt if ``prompt``."""
        return self.tokenizer.apply_chat_template(
            list(messages), tools=tools, tokenize=False, add_generation_prompt=prompt
        )

    def marked(self, messages: Sequence[Mapping], tools: list | None) -> tuple[str, list[Span]]:
        """Return the text of ``messages`` and what stands between the template's markers."""
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, indices = render_jinja_template(
            conversations=[list(messages)],
            tools=tools,
            chat_template=self.tokenizer.get_chat_template(tools=tools),
            return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map,
        )
        return texts[0], indices[0]

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
        if found:
            self.ending, self.end_of_turn = "", self._last_of_turn(after) or found.group()
        else:  # as in GLM-4: the next turn's first token ends an answer
            self.ending = self._ending(whole)
            self.end_of_turn = self.ending.lstrip()
        self._probe_bos(whole)
        self.opening, self.header = self._opening(whole), self._header()
        rendered = self.render([PROBE[0], THINKING], None)
        self.renders_reasoning = bool(self.opening) or THOUGHT in rendered
        self.has_markers = self._markers_hold()
        self.frames = {frame for m in (PROBE[1], THINKING) if (frame := self._frame(m))}

    def _ending(self, whole: str) -> str:
        """Return what stands between an answer and the next question: a token that opens it.

        Raises StageError if there is none.
        """
        longer = self._followed()
        found = self.control_text.search(longer, len(whole))
        if not longer.startswith(whole) or not found or longer[len(whole) : found.start()].strip():
            raise StageError(
                f"{self.name}: after an assistant's text the chat template writes no special "
                "token: the model would never learn to stop; end assistant turns with the "
                "tokenizer's eos token or choose another template"
            )
        self.notes.append(
            f"{self.name}: answers have no end of their own in the chat template; {found.group()}, "
            "with which the next question begins, is trained as their end"
        )
        return longer[len(whole) : found.end()]

    def _header(self) -> str:
        """Return what a prompt ends with for the answer to come; '' if that is plain text.

        Plain text may be the beginning of an answer as well.
        """
        asked, prompt = (self.render(PROBE[:1], None, prompt=more) for more in (False, True))
        header = prompt[len(asked) :] if prompt.startswith(asked) else ""
        return header if self.control_text.search(header) else ""

    def _last_of_turn(self, after: str) -> str | None:
        """Return the last control token that ends an answer whether or not others follow.

        Behind it some templates write an eos token at the end of all (Phi-3), and before it
        some close the answer with a token of its own (Command R7B). None if an answer ends
        otherwise when a question follows.
        """
        longer = self._followed()
        followed = longer.partition(PROBE[1]["content"])[2]
        both = self.control_text.findall(common_prefix(after, followed))
        return both[-1] if both else None

    def _followed(self) -> str:
        """Return the text of a question, its answer and a further question; '' if refused."""
        from jinja2.exceptions import TemplateError

        try:
            return self.render([*PROBE, {"role": "user", "content": FURTHER}], None)
        except (TemplateError, TypeError, KeyError):
            return ""

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
                "on other prompts; give it a date with bases: ... chat_template_kwargs (Llama 3 "
                "calls it date_string) or put a fixed one into a copy of the template"
            )

    def _probe_bos(self, whole: str) -> None:
        """Refuse two BOS tokens; note it if the template leaves out the tokenizer's own."""
        bos = self.tokenizer.bos_token_id
        if bos is None or bos == self.control[self.end_of_turn]:
            return
        ids = self.tokenizer(whole, add_special_tokens=False).input_ids
        if ids[:2] == [bos, bos]:
            raise StageError(f"{self.name}: the chat template begins with two BOS tokens")
        if ids[:1] != [bos] and self.tokenizer("x").input_ids[:1] == [bos]:
            self.notes.append(
                f"{self.name}: the tokenizer begins texts with {self.tokenizer.bos_token}, the "
                "chat template doesn't; if the model was pre-trained with it, write "
                "{{ bos_token }} at the beginning of the template"
            )

    def _opening(self, whole: str) -> str:
        """Return the thinking that a prompt opens and a whole conversation lacks, '' if none.

        Raises StageError if a prompt is otherwise not how the conversation begins.
        """
        prompt = self.render(PROBE[:1], None, prompt=True)
        if whole.startswith(prompt):
            return ""
        if self.render([PROBE[0], THINKING], None).startswith(prompt):
            self.notes.append(
                f"{self.name}: the chat template opens each answer with thinking; answers without "
                "are rejected, unless chat_template_kwargs say enable_thinking: false"
            )
            return ""
        stem = common_prefix(whole, prompt)
        opening, said = prompt[len(stem) :], whole[len(stem) :].lstrip()
        if OPENING.fullmatch(opening) and said.startswith(PROBE[1]["content"]):
            return opening
        raise StageError(
            f"{self.name}: the chat template opens an answer with {prompt[-40:]!r} when it is "
            "asked for one, but not in the whole conversation, so a model would be trained "
            "behind other prompts than it is served; choose another template"
        )

    def _frame(self, answer: Mapping[str, Any]) -> str | None:
        """Return the words that the template puts into an answer beside what it says."""
        try:
            text, (span,) = located(self, [PROBE[0], answer], None, [1])
        except (PrefixChanged, Refused):
            return None
        frame = frame_of(self.tokenizer, self.control_text, text[slice(*span)], answer)
        return frame and frame.replace(THOUGHT, THOUGHT_HERE)

    def _markers_hold(self) -> bool:
        """Say whether there are generation markers and they stand around the answer.

        In a macro or a {% set %} block transformers puts them in the wrong place.
        """
        if self.opening or self.ending or not MARKERS.search(self.tokenizer.get_chat_template()):
            return False
        text, marked = self.marked(PROBE, None)
        if len(marked) == 1 and PROBE[1]["content"] in text[slice(*marked[0])]:
            return True
        self.notes.append(
            f"{self.name}: the generation markers of the chat template are not around the "
            "assistant's text; turns are found without them"
        )
        return False

    def rendered(self, messages: list[dict], tools: list | None, turns: Sequence[int]) -> Rendered:
        """Return the conversation's text with the spans of the assistant messages ``turns``.

        Raises Refused if the template refuses the row or drops a part of it, and
        PrefixChanged if the turns can only be located one by one.
        """
        from jinja2.exceptions import TemplateError

        try:
            text, spans = located(self, messages, tools, turns)
        except (TemplateError, TypeError, KeyError, ValueError, AttributeError) as error:
            raise Refused("template_refused", f"the chat template refused it: {error}") from None
        for k, (start, _) in zip(turns, spans, strict=True):
            if self.header and text.startswith(self.header, start):
                raise Refused(
                    "turn_not_located",
                    f"message {k}: the conversation has {self.header!r} before it, and the prompt "
                    "that is served there has not",
                )
        self._nothing_dropped(text, messages, tools)
        return Rendered(text, spans, [messages[k] for k in turns])

    def _nothing_dropped(self, text: str, messages: list[dict], tools: list | None) -> None:
        """Raise Refused if a message's text, a tool or a tool call is not in the render."""
        for k, message in enumerate(messages):
            said = message["content"].strip()
            if said not in text and json.dumps(said, ensure_ascii=False)[1:-1] not in text:
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
