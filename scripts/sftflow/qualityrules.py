"""Signs of poor text that cost nothing to see: repetition, symbols, filler.

The rules of Gopher (Rae et al. 2021, arXiv:2112.11446, table A1 and section A.1) and of C4
(Raffel et al. 2020, arXiv:1910.10683, section 2.2) that make sense for an answer. Both were
made for web pages, so short answers, code and tables are spared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sftflow.cleaningstep import Records, Step, one_of

CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
# A letter of a script without spaces counts as a word.
DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]")
WORD = re.compile(rf"{DENSE.pattern}|[^\W_]+")
FILLER = re.compile(r"lorem ipsum", re.IGNORECASE)  # C4


def quality_rules(
    records: Records,
    step: Step,
    action: str = "drop",
    min_words: int = 50,
    max_duplicate_lines: float | None = 0.5,
    max_repeated_words: float | None = 0.5,
    max_symbols: float | None = 0.1,
    min_letters: float | None = 0.2,
    filler: bool = True,
) -> Records:
    """Drop or report records with an answer that one of the rules finds poor.

    max_duplicate_lines: share of lines (and of their characters) that an earlier line says too.
    max_repeated_words: share of words in runs of 5 that stand earlier too (10 in scripts without
    spaces, where a character counts as a word); Gopher's bound for web pages is 0.15.
    max_symbols: '#' and ellipses per word. min_letters: share of letters among the characters
    that are not white space. They look at answers of ``min_words`` words or more, without code.
    """
    one_of(step, "action", action, ("drop", "report"))
    limits = {
        "duplicate_lines": max_duplicate_lines,
        "repeated_words": max_repeated_words,
        "symbols": max_symbols,
        "few_letters": min_letters,
    }
    for record in records:
        faults: dict[str, str] = {}
        for message in record["messages"]:
            if message["role"] == "assistant":
                text = CODE.sub(" ", message["content"])
                faults |= dict(_faults(text, limits, min_words))
                if filler and FILLER.search(text):
                    faults["filler"] = "an answer holds 'lorem ipsum'"
        if not faults:
            yield record
            continue
        step.note(record, dict.fromkeys(faults, 1))
        if action == "drop":
            reason, said = next(iter(faults.items()))
            step.reject(record, reason, said)
        else:
            yield record


def _faults(
    text: str, limits: dict[str, float | None], min_words: int
) -> Iterator[tuple[str, str]]:
    words = WORD.findall(text.lower())
    if len(words) < max(1, min_words):
        return
    shares = {
        "duplicate_lines": lambda: duplicate_line_share(text),
        "repeated_words": lambda: repeated_share(words),
        "symbols": lambda: (text.count("#") + text.count("...") + text.count("…")) / len(words),
        "few_letters": lambda: letter_share(text),
    }
    for rule, limit in limits.items():
        if limit is None:
            continue
        share = shares[rule]()
        if share < limit if rule == "few_letters" else share > limit:
            bound = "less" if rule == "few_letters" else "more"
            yield rule, f"an answer's {rule} are {share:.2f}, {bound} than {limit:g}"


def duplicate_line_share(text: str) -> float:
    """Return the share of lines that stand earlier too, by number or, if larger, by characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        return 0.0
    seen: set[str] = set()
    again = [line for line in lines if line in seen or seen.add(line)]  # type: ignore[func-returns-value]
    chars = sum(map(len, again)) / sum(map(len, lines))
    return max(len(again) / len(lines), chars)


def repeated_share(words: list[str]) -> float:
    """Return the share of words that lie in runs of 5 (or 10) words that stand earlier too."""
    if not words:
        return 0.0
    dense = sum(len(word) == 1 and bool(DENSE.match(word)) for word in words)
    n = 10 if 2 * dense > len(words) else 5
    seen: set[tuple[str, ...]] = set()
    again = covered = 0  # words before ``covered`` are counted already
    for start in range(len(words) - n + 1):
        run = tuple(words[start : start + n])
        if run in seen:
            again += start + n - max(covered, start)
            covered = start + n
        seen.add(run)
    return again / len(words)


def letter_share(text: str) -> float:
    """Return the share of letters among the characters that are not white space."""
    solid = [c for c in text if not c.isspace()]
    return sum(c.isalpha() for c in solid) / max(1, len(solid))
