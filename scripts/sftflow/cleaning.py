"""Cleaning steps: each takes a stream of records and gives a stream of records.

A step is a function of (records, step, **options) that yields what stays, counts in
``step.changed`` what it changed, and gives what goes to ``step.reject``. To add one, write the
function, put it into STEPS and its options into config/schema.yaml.
"""

from __future__ import annotations

import html
import inspect
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sftflow.boilerplate import boilerplate
from sftflow.cleaningstep import Record, Records, Step, rewritten
from sftflow.conflicts import conflicts
from sftflow.controltokens import control_tokens
from sftflow.credentials import secrets
from sftflow.judging import judge
from sftflow.languages import language
from sftflow.nearduplicates import near_duplicates
from sftflow.personaldata import personal_data
from sftflow.placeholders import placeholders
from sftflow.prompts import conversation_key
from sftflow.qualityrules import quality_rules
from sftflow.refusals import refusals
from sftflow.semanticduplicates import semantic_duplicates
from sftflow.stage import StageError
from sftflow.textformat import text_format
from sftflow.turnrules import turns

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Joiners (U+200C, U+200D) and direction marks stay: scripts and emoji need them.
INVISIBLE = re.compile("[\u200b\u2060\ufeff]")
BLANKS = " \t\u00a0\u3000"
GAP = "\n\n\n\n"
GAPS = re.compile(GAP + "+")
CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
SCRIPT = re.compile(r"<(script|style)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CELL_END = re.compile(r"</t[dh]\s*>(?=\s*<t[dh]\b)", re.IGNORECASE)  # 1 and 2 are not 12
LINE_TAG = re.compile(r"<(?:br|/p|/div|/li|/tr|/h[1-6])\b[^<>]*>", re.IGNORECASE)
TAG = re.compile(
    r"</?(?:p|br|div|span|b|i|u|a|ul|ol|li|table|thead|tbody|tr|td|th|strong|em|font|img|h[1-6]|"
    r"hr|blockquote|center|html|body|head|section|article|small|sub|sup)\b[^<>]*>",
    re.IGNORECASE,
)


def cleaned(
    records: Records,
    settings: Iterable[Mapping[str, Any]],
    folder: Path,
    refuse: Callable[[str, Record, str, str], None],
    own: Mapping[str, Callable[..., Records]] | None = None,
) -> tuple[Records, list[Step]]:
    """Return the stream that comes out of all steps, and their books (full at its end).

    ``own`` has the steps that these records take otherwise than STEPS.
    """
    steps = {**STEPS, **(own or {})}
    books = []
    for setting in settings:
        options = {key: value for key, value in setting.items() if key != "step"}
        function = _function(setting.get("step"), options, steps)
        step = Step(setting["step"], folder, refuse)
        books.append(step)
        records = _counted(function(_arriving(records, step), step, **options), step)
    return records, books


def _function(
    name: Any, options: Mapping[str, Any], steps: Mapping[str, Callable[..., Records]]
) -> Callable[..., Records]:
    if name not in steps:
        raise StageError(f"cleaning step {name!r} is unknown; known: {', '.join(sorted(STEPS))}")
    known = list(inspect.signature(steps[name]).parameters)[2:]
    for option in options:
        if option not in known:
            listed = ", ".join(known) or "none"
            raise StageError(f"cleaning step {name!r} has no option {option!r}; it has: {listed}")
    return steps[name]


def _arriving(records: Records, step: Step) -> Records:
    for record in records:
        step.rows_in += 1
        yield record


def _counted(records: Records, step: Step) -> Records:
    for record in records:
        step.rows_out += 1
        yield record


def normalized_text(text: str) -> str:
    """Return ``text`` in NFC, with LF line ends, without control and zero-width characters."""
    if text.isascii() and text.isprintable():  # one clean line: the same, ten times as fast
        return text.strip()
    text = CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    if not text.isascii():
        # After the removals: a removed character may have kept two apart that belong together.
        text = unicodedata.normalize("NFC", INVISIBLE.sub("", text))
    text = "\n".join(line.rstrip(BLANKS) for line in text.split("\n"))
    return (GAPS.sub("\n\n\n", text) if GAP in text else text).strip()


def normalize_text(records: Records, step: Step, fix_mojibake: bool = False) -> Records:
    """Bring every text to one form; ``fix_mojibake`` also repairs text that was decoded twice."""
    if not fix_mojibake:
        return rewritten(records, step, normalized_text)
    import ftfy  # only where asked for: it guesses

    step.packages.add("ftfy")
    return rewritten(records, step, lambda text: normalized_text(ftfy.fix_encoding(text)))


def text_without_html(text: str) -> str:
    """Return ``text`` without HTML tags and entities; what stands in backquotes is code."""
    if "<" not in text and "&" not in text:
        return text
    parts = CODE.split(text)  # prose, code, prose, ...
    parts[::2] = [_plain(part) for part in parts[::2]]
    return "".join(parts)


def _plain(text: str) -> str:
    text = CELL_END.sub("\t", SCRIPT.sub("", COMMENT.sub("", text)))
    without = TAG.sub("", LINE_TAG.sub("\n", text))
    return html.unescape(without).replace("\u00a0", " ")


def strip_html(records: Records, step: Step) -> Records:
    """Take HTML tags and entities out of every text, except out of code."""
    return rewritten(records, step, text_without_html)


def length(
    records: Records,
    step: Step,
    min_prompt_chars: int = 10,
    min_answer_chars: int = 20,
    max_answer_chars: int = 8192,
) -> Records:
    """Keep records whose texts are neither too short nor too long (characters).

    The prompt is all user turns together, the shortest answer allowed is about the last one,
    the longest about each.
    """
    for record in records:
        prompt = sum(len(m["content"]) for m in record["messages"] if m["role"] == "user")
        answers = [
            len(m["content"]) + len(m["tool_calls"] or "")
            for m in record["messages"]
            if m["role"] == "assistant"
        ]
        if prompt < min_prompt_chars:
            step.reject(
                record, "short_prompt", f"{prompt} characters, fewer than {min_prompt_chars}"
            )
        elif answers[-1] < min_answer_chars:
            said = f"{answers[-1]} characters, fewer than {min_answer_chars}"
            step.reject(record, "short_answer", said)
        elif max(answers) > max_answer_chars:
            said = f"{max(answers)} characters, more than {max_answer_chars}"
            step.reject(record, "long_answer", said)
        else:
            yield record


def exact_duplicates(records: Records, step: Step) -> Records:
    """Keep the first of conversations that are equal but for case, width and white space."""
    files: dict[tuple[str, str], int] = {}
    first: dict[int, int] = {}  # key -> file number and row in one integer, to stay small
    for record in records:
        file = files.setdefault((record["source"], record["file"] or ""), len(files))
        place = file << 48 | record["row"]
        before = first.setdefault(conversation_key(record), place)
        if before == place:
            yield record
            continue
        source, name = list(files)[before >> 48]
        row = before & (1 << 48) - 1
        step.reject(record, "duplicate", f"says the same as {source} {name}:{row}")


STEPS: dict[str, Callable[..., Records]] = {
    "normalize_text": normalize_text,
    "strip_html": strip_html,
    "length": length,
    "exact_duplicates": exact_duplicates,
    "near_duplicates": near_duplicates,
    "semantic_duplicates": semantic_duplicates,
    "conflicts": conflicts,
    "turns": turns,
    "placeholders": placeholders,
    "language": language,
    "personal_data": personal_data,
    "secrets": secrets,
    "control_tokens": control_tokens,
    "refusals": refusals,
    "boilerplate": boilerplate,
    "format": text_format,
    "quality_rules": quality_rules,
    "judge": judge,
}
