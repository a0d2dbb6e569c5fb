"""One form for answers: JSON, markdown, white space and quotes, each only if asked for."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from sftflow.cleaningstep import Records, Step, one_of, with_answers

CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
JSON_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
# Not before or after white space of a line's own: indentation and markdown's line breaks stay.
SPACES = re.compile(r"(?<=[^\s])[ \t\u00a0]{2,}(?=[^\s|])")
ENDS = re.compile(r"[ \t\u00a0\u3000]+$", re.MULTILINE)
GAPS = re.compile(r"\n{3,}")
# Stars and underscores of formulas are no emphasis: $a_1 * b$, \(x\), 2*3, a*b.
MATH = re.compile(r"\$[^$\n]+\$|\\[(\[]|[\w)]\*{1,2}[\d(.]|\d\s?\*\s?\w|\w\*\w")
ANSWER_MARK = re.compile(r"[\d\s.,$%-]+")  # "#### 18" marks the answer in GSM8K, and is no heading
HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
STRAIGHT = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "‚": "'"})


def text_format(
    records: Records,
    step: Step,
    json_style: str = "keep",
    markdown: str = "keep",
    white_space: str = "keep",
    quotes: str = "keep",
) -> Records:
    """Bring answers to one form; what was changed is counted by kind."""
    one_of(step, "json_style", json_style, ("keep", "compact", "spaced", "indented"))
    one_of(step, "markdown", markdown, ("keep", "strip"))
    one_of(step, "white_space", white_space, ("keep", "single"))
    one_of(step, "quotes", quotes, ("keep", "straight"))
    changes: dict[str, Callable[[str], str]] = {}
    if json_style != "keep":
        changes["json"] = lambda text: restyled_json(text, json_style)
    if markdown == "strip":
        step.packages.add("markdown-it-py")
        changes["markdown"] = markdown_stripper()
    if white_space == "single":
        changes["white_space"] = single_spaced
    if quotes == "straight":
        changes["quotes"] = straight_quotes
    yield from _changed(records, step, changes)


def _changed(records: Records, step: Step, changes: dict[str, Callable[[str], str]]) -> Records:
    kinds: Counter[str] = Counter()

    def change(text: str) -> str:
        is_json = _json_answer(text)
        for kind, function in changes.items():
            if kind != "json" and is_json:
                continue  # its strings are data
            changed = function(text)
            if changed != text and changed.strip():
                kinds[kind] += 1
                text = changed
        return text

    for record in records:
        kinds.clear()
        changed = with_answers(record, change)
        if changed is not record:
            step.changed += 1
            step.note(record, kinds)
        yield changed


def _json_answer(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def restyled_json(text: str, style: str) -> str:
    """Return an answer that is a JSON object or list in one style, any other as it is.

    Strings and numbers are spelt as they were. ``compact``: no white space; ``spaced``: one
    line, a space after , and : as Python writes it; ``indented``: two spaces.
    """
    if not _json_answer(text):
        return text
    parts: list[str] = []
    depth = 0
    pieces = JSON_PIECE.findall(text)
    comma, colon = (",", ":") if style == "compact" else (", ", ": ")
    for before, piece in pairwise(["", *pieces]):
        line = "\n" + "  " * depth
        if piece in ("}", "]"):
            depth -= 1
            empty = before in ("{", "[")
            parts += [piece] if style != "indented" or empty else ["\n" + "  " * depth, piece]
            continue
        if style == "indented" and before in ("{", "["):
            parts.append(line)
        if piece == ",":
            parts.append("," + line if style == "indented" else comma)
        elif piece == ":":
            parts.append(colon)
        else:
            parts.append(piece)
            depth += piece in ("{", "[")
    return "".join(parts)


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts = CODE.split(text)  # prose, code, prose, ...
    parts[::2] = [change(part) for part in parts[::2]]
    return "".join(parts)


def single_spaced(text: str) -> str:
    """Return prose with single spaces in its lines and one blank line at most; code stays."""
    spaced = _outside_code(text, lambda part: GAPS.sub("\n\n", SPACES.sub(" ", ENDS.sub("", part))))
    return spaced.strip("\n \t")


def straight_quotes(text: str) -> str:
    """Return prose with straight quotes; in Chinese and Japanese the curly ones are right."""
    if HAN.search(text):
        return text
    return _outside_code(text, lambda part: part.translate(STRAIGHT))


def markdown_stripper() -> Callable[[str], str]:
    """Return a function that takes headings, emphasis and links out of markdown.

    Lists, quotes, tables and code stay as they are: they are legible as plain text.
    """
    from markdown_it import MarkdownIt

    # Backslashes belong to LaTeX more often than they escape, and entities may be meant.
    parser = MarkdownIt("commonmark").disable(["escape", "entity"])

    def plain(text: str) -> str:
        if "\r" in text or "\x00" in text:
            return text  # the parser turns them into something else: normalize_text comes first
        lines = text.split("\n")
        blocks = parser.parse(text)
        for before, block in pairwise(blocks):
            if block.type != "inline" or block.map is None or MATH.search(block.content):
                continue
            start, end = block.map
            said = _plain_inline(block).split("\n")
            raw = block.content.split("\n")
            if before.type == "heading_open" and ANSWER_MARK.fullmatch(block.content):
                continue
            if before.type == "heading_open":
                start, end = before.map or block.map  # with the line below: Title, =====
                lines[start:end] = [said[0], *[None] * (end - start - 1)]  # keep the numbering
            elif len(said) == len(raw) == end - start:
                for i, (old, new) in enumerate(zip(raw, said, strict=True), start):
                    lines[i] = lines[i].replace(old, new, 1)
        return "\n".join(line for line in lines if line is not None)

    return plain


def _plain_inline(block) -> str:
    parts = []
    for token in block.children or ():
        if token.type in ("softbreak", "hardbreak"):
            parts.append("\n")
        elif token.type == "code_inline":
            parts.append(f"{token.markup}{token.content}{token.markup}")
        else:
            parts.append(token.content)
    return "".join(parts)
