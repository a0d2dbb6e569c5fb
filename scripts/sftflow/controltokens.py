"""Control tokens of chat templates that were typed into the text.

A tokenizer may read them as what they look like, so that a text ends its own turn or opens
another one. template_data refuses those of its own template; this step deals with those of
any well-known one, before a template is chosen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from sftflow.cleaningstep import Record, Records, Step, with_every_text
from sftflow.lists import shipped_list
from sftflow.stage import StageError

ACTIONS = ("drop", "escape", "remove", "report")


def token_form(more: Sequence[str] = ()) -> re.Pattern[str]:
    """Return an expression for the shipped tokens and those in ``more``."""
    shipped = shipped_list("controltokens.yaml")
    literal = sorted({*shipped["literal"], *more}, key=lambda s: (-len(s), s))
    return re.compile("|".join([*map(re.escape, literal), *shipped["forms"]]))


def escaped(token: str) -> str:
    """Return a token with a space after its first character: legible, and no longer a token."""
    return f"{token[0]} {token[1:]}"


def control_tokens(
    records: Records, step: Step, action: str = "drop", tokens: Sequence[str] = ()
) -> Records:
    """Drop records whose texts hold control tokens, or escape, remove or report these."""
    if action not in ACTIONS:
        raise StageError(
            f"control_tokens: action is {action!r}; expected one of {', '.join(ACTIONS)}"
        )
    form = token_form(tokens)
    for record in records:
        changed, kinds = _without(record, form, action)
        if not kinds:
            yield record
            continue
        step.note(record, kinds)
        listed = ", ".join(f"{token} ({times} times)" for token, times in sorted(kinds.items()))
        if action == "drop":
            step.reject(record, "control_token", f"the text holds {listed}")
        elif action == "report":
            yield record
        elif any(m["role"] != "tool" and _emptied(m) for m in changed["messages"]):
            step.reject(record, "nothing_but_tokens", f"a turn holds nothing but {listed}")
        else:
            step.changed += 1
            yield changed


def _without(record: Record, form: re.Pattern[str], action: str) -> tuple[Record, Counter[str]]:
    kinds: Counter[str] = Counter()

    def changed(text: str) -> str:
        found = form.findall(text)
        kinds.update(found)
        if not found or action in ("drop", "report"):
            return text
        if action == "escape":
            return form.sub(lambda match: escaped(match[0]), text)
        while form.search(text):  # what stood around a token may be one without it
            text = form.sub("", text)
        return text.strip()

    return with_every_text(record, changed), kinds


def _emptied(message: dict) -> bool:
    return not message["content"].strip() and not message["tool_calls"]
