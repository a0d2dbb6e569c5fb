"""Prove on rows of the data that a server reads conversations as the training did.

For each row three token lists must be one: those before the last answer as ``template_data`` makes
them, those that the server's ``/tokenize`` gives for the same messages, and those that it gives
for the rendered text. The first are compared with ``apply_chat_template`` where they are made
(``templateguards.check_served``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sftflow.chat_templates import ChatTemplate, Refused
from sftflow.templatedrows import parts_of, samples_of

Tokenize = Callable[[dict[str, Any]], Sequence[int]]  # the body of a request -> ids
Compare = Callable[[Sequence[int], Sequence[int], str], None]  # seen, expected, where
MOST_ROWS = 16


def varied(rows: Sequence[Mapping[str, Any]], most: int = MOST_ROWS) -> list[Mapping[str, Any]]:
    """Return up to ``most`` rows: the first of each kind (roles, tools, thinking), then others."""
    kinds: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        roles = tuple(m["role"] for m in row["messages"])
        thinks = any(m.get("reasoning") for m in row["messages"])
        kinds.setdefault((roles, bool(row.get("tools")), thinks), []).append(row)
    first = [some[0] for some in kinds.values()]
    rest = [row for some in kinds.values() for row in some[1:]]
    return [*first, *rest][:most]


def check_rows(
    template: ChatTemplate,
    rows: Iterable[Mapping[str, Any]],
    request_messages: Callable[[Sequence[Mapping]], list[dict]],
    tokenize: Tokenize,
    compare: Compare,
) -> int:
    """Compare the three token lists of rows that end with an answer; return how many there were.

    ``compare`` raises where two lists differ. A row that no training would take is left out.
    """
    checked = 0
    for row in rows:
        try:
            part = parts_of(template, row, "last", "train")[-1]
            sample = samples_of(template, [part])[-1]
        except Refused:
            continue
        where = f"row {row['id']}, as it is trained"
        before = sample.ids[: sample.starts[-1]]
        asked: dict[str, Any] = {
            "messages": request_messages(part.messages[:-1]),
            "add_generation_prompt": True,
        }
        if part.tools:
            asked["tools"] = part.tools
        compare(tokenize(asked), before, where)
        text = part.rendered.text
        plain = {"prompt": text[: part.rendered.spans[-1][0]], "add_special_tokens": False}
        compare(tokenize(plain), before, f"{where}, the prompt as text")
        whole = template.tokenizer(text, add_special_tokens=False).input_ids
        plain = {"prompt": text, "add_special_tokens": False}
        compare(tokenize(plain), whole, f"{where}, all of it as text")
        checked += 1
    return checked
