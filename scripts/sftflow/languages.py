"""The language of a text, told by py3langid, and the step that keeps the wanted ones."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import cache

from sftflow.cleaningstep import Record, Records, Step, texts_of
from sftflow.stage import StageError

CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`|https?://\S+", re.DOTALL)
# Languages with two-letter codes that the model tells apart more finely. Written Chinese comes
# out as Wu as often as not (docs/data.md).
FOLDED = {"wuu": "zh", "yue": "zh", "arz": "ar", "ary": "ar", "nn": "no", "nb": "no"}
# One character of these scripts says as much as about three letters.
DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
LETTER = re.compile(r"[^\W\d_]")
LOOKED_AT = {"prompt": ("user",), "answer": ("assistant",), "both": ("user", "assistant")}
SURE = 0.9
PREFIX_CHARS = 500  # enough to tell; time grows with it

Told = tuple[str, float]  # ISO 639-1 code (longer for what has none), probability


def letters(text: str) -> int:
    """Return how many letters a text has, a Chinese, Japanese or Korean character as three."""
    return len(LETTER.findall(text)) + 2 * len(DENSE.findall(text))


def prose(text: str) -> str:
    """Return the beginning of a text without code and addresses, which have no language."""
    return CODE.sub(" ", text[: 2 * PREFIX_CHARS])[:PREFIX_CHARS]


@cache
def language_finder() -> tuple[Callable[[str], Told], set[str]]:
    """Return a function text -> its most likely language, and the codes that it knows."""
    from py3langid import langid

    logging.getLogger("py3langid").setLevel(logging.WARNING)
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)

    def told(text: str) -> Told:
        code, share = identifier.classify(text)
        if share > SURE:  # asking for all of them takes five times as long
            return FOLDED.get(code, code), float(share)
        shares: dict[str, float] = {}
        for code, share in identifier.rank(text):
            code = FOLDED.get(code, code)
            shares[code] = shares.get(code, 0.0) + float(share)
        best = max(shares, key=shares.__getitem__)
        return best, shares[best]

    known = {FOLDED.get(code, code) for code in identifier.labels}
    return told, {code for code in known if len(code) == 2}


def language(
    records: Records,
    step: Step,
    languages: Sequence[str],
    looks_at: str = "both",
    min_confidence: float = 0.5,
    min_letters: int = 20,
    unknown: str = "keep",
) -> Records:
    """Keep records whose prompt and answer are each in one of ``languages`` (ISO 639-1).

    A part is in another language if that one has a probability of ``min_confidence`` or more.
    It is unknown if no language has that, or if it has fewer than ``min_letters`` letters.
    """
    find, known = language_finder()
    step.packages.add("py3langid")
    for code in languages:
        if code not in known:
            listed = ", ".join(sorted(known))
            raise StageError(f"language: languages: {code!r} is not known; known: {listed}")
    roles = [LOOKED_AT["prompt"], LOOKED_AT["answer"]] if looks_at == "both" else None
    wanted = {FOLDED.get(code, code) for code in languages}
    for record in records:
        told = {
            _language(record, part, find, min_confidence, min_letters)
            for part in roles or [LOOKED_AT[looks_at]]
        }
        others = sorted(told - wanted - {None})
        step.note(record, {code or "unknown": 1 for code in sorted(told, key=str)})
        if others:
            step.reject(record, "other_language", f"{', '.join(others)}, not {_listed(languages)}")
        elif None in told and unknown == "reject":
            step.reject(record, "unknown_language", f"can't be told to be {_listed(languages)}")
        else:
            yield record


def _listed(languages: Sequence[str]) -> str:
    return " or ".join(languages)


def _language(
    record: Record,
    roles: Sequence[str],
    find: Callable[[str], Told],
    min_confidence: float,
    min_letters: int,
) -> str | None:
    """Return the language of what ``roles`` say, None if it can't be told."""
    text = prose("\n".join(texts_of(record, roles)))
    if letters(text) < min_letters:
        return None
    code, share = find(text)
    return code if share >= min_confidence and len(code) == 2 else None
