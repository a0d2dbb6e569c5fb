"""Scores of answers: each metric with its standard error and the number of answers behind it.

A row is what generate_answers left: ``answer`` and ``reference`` (str or null),
``finish_reason``, ``completion_tokens``. A metric leaves out rows about which it can't say
anything (no reference, too short for a 4-gram ...), and its ``n`` is what is left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from statistics import median
from typing import Any

from sftflow.estimates import Estimate, estimate, mean_estimate
from sftflow.prompts import normalized
from sftflow.stage import StageError
from sftflow.words import words

Row = Mapping[str, Any]
Scores = dict[str, Estimate]

MOSTLY = 0.9  # share of the references that must have a form, so that a few bad rows don't matter
SHORT_CHARS = 40  # median length up to which equality says more than n-gram overlap
FIELDS_SHOWN = 32  # JSON keys with a figure of their own
BOOTSTRAPS = 1000
Z95 = 1.959964  # half of a 95 % interval in standard errors

HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
UNSPACED_NOT_HAN = re.compile("[\u0e00-\u0e7f\u3040-\u30ff]")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
AFTER_HASHES = re.compile(r"####\s*[^\d-]{0,3}(-?\d[\d,]*(?:\.\d+)?)")
END_MARKS = ".,;:!?\u2026\u3002\uff0c\uff01\uff1f\uff1b\uff1a"
QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"


def bare(text: str) -> str:
    """Return ``text`` without differences of case, width and white space, quotes and end mark."""
    text = normalized(text).strip(QUOTES + " ")
    return text.rstrip(END_MARKS + QUOTES + " ")


def parsed_json(text: str) -> Any:
    """Return the value of a text that is JSON (RFC 8259) and nothing else; else raise ValueError.

    Raises ValueError for NaN and Infinity too, which Python's json would take.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_json(text: str) -> bool:
    """Return whether a text is JSON and nothing else."""
    try:
        parsed_json(text)
    except ValueError:
        return False
    return True


def json_object(text: str | None) -> dict[str, Any] | None:
    """Return the object that a text is in JSON, or None."""
    try:
        value = None if text is None else parsed_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def same_json(a: Any, b: Any) -> bool:
    """Return whether two JSON values are equal: 1 is 1.0, but, unlike in Python, true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_json(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_json, a, b))
    return a == b


def final_number(text: str) -> Decimal | None:
    """Return the number after ``####`` (the form of GSM8K), or else the last number."""
    found = AFTER_HASHES.findall(text) or NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "")) if found else None


def repeated_share(text: str, size: int = 4) -> float | None:
    """Return the share of n-grams of words that occurred before; None if there are none."""
    said = words(text)
    grams = [tuple(said[i : i + size]) for i in range(len(said) - size + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else None


def _ended(row: Row) -> float | None:
    reason = row.get("finish_reason")
    return None if reason is None else float(reason == "stop")


def _against(compare: Callable[[str, str], float | None]) -> Callable[[Row], float | None]:
    """Return a row's value for a comparison of answer and reference; None without reference."""

    def value(row: Row) -> float | None:
        if row.get("reference") is None:
            return None
        score = compare(row["answer"], row["reference"])
        return None if score is None else float(score)

    return value


def same_number(answer: str, reference: str) -> float | None:
    """Return 1 if the final numbers are equal, else 0; None if the reference has none."""
    wanted = final_number(reference)
    return None if wanted is None else float(final_number(answer) == wanted)


def right_fields(answer: str, reference: str | None) -> dict[str, float] | None:
    """Return for each field of a JSON object whether the answer has it right, 1 or 0.

    A field that the answer lacks is wrong; fields that only the answer has are not looked at.
    None if the reference is no object or an empty one.
    """
    wanted, given = json_object(reference), json_object(answer) or {}
    if not wanted:
        return None
    return {k: float(k in given and same_json(given[k], v)) for k, v in wanted.items()}


def right_share(answer: str, reference: str) -> float | None:
    """Return the share of the reference's JSON fields that are right; None if it has none."""
    right = right_fields(answer, reference)
    return None if right is None else sum(right.values()) / len(right)


# Each answer has a value of its own, and the score is their mean.
MEANS: dict[str, Callable[[Row], float | None]] = {
    "exact_match": _against(lambda a, r: a.strip() == r.strip()),
    "normalized_match": _against(lambda a, r: bare(a) == bare(r)),
    "numeric_answer": _against(same_number),
    "json_valid": lambda row: float(is_json(row["answer"])),
    "answer_chars": lambda row: float(len(row["answer"])),
    "answer_tokens": lambda row: row.get("completion_tokens"),
    "ended": _ended,
    "repetition": lambda row: repeated_share(row["answer"]),
}


def mean_of(value: Callable[[Row], float | None], rows: Iterable[Row]) -> Estimate:
    """Return the mean of a value over the rows that have one."""
    return mean_estimate(v for row in rows if (v := value(row)) is not None)


def json_fields(rows: Sequence[Row]) -> Scores:
    """Return the mean share of the reference's JSON fields that are right, and each field's."""
    fields: dict[str, list[float]] = {}
    for row in rows:
        for name, is_right in (right_fields(row["answer"], row.get("reference")) or {}).items():
            fields.setdefault(name, []).append(is_right)
    scores = {"json_fields": mean_of(_against(right_share), rows)}
    if len(fields) <= FIELDS_SHOWN:
        scores |= {f"json_fields.{k}": mean_estimate(fields[k]) for k in sorted(fields)}
    return scores


def bleu_tokenizer(references: Sequence[str]) -> str:
    """Return sacrebleu's tokenizer for the script of most words: 13a, zh or char."""
    tokens = [w for text in references for w in words(text)]
    unspaced = [w for w in tokens if HAN.fullmatch(w) or UNSPACED_NOT_HAN.fullmatch(w)]
    if len(unspaced) * 2 < len(tokens) or not tokens:
        return "13a"
    return "char" if any(UNSPACED_NOT_HAN.fullmatch(w) for w in unspaced) else "zh"


def _give_plain_floats(metric: Any) -> None:
    """Mend sacrebleu 2.6 with numpy 2: it averages float32 with the float of a zero score.

    `statistics.mean` refuses that mixture, so a bootstrap in which some sample scores 0 raises.
    """
    compute = metric._compute_score_from_stats

    def plain(stats: Any) -> Any:
        score = compute(stats)
        score.score = float(score.score)
        return score

    metric._compute_score_from_stats = plain


def _corpus(rows: Sequence[Row], name: str) -> Scores:
    """Return sacrebleu's BLEU or chrF (0 to 100); the error is from 1000 bootstrap samples."""
    from sacrebleu.metrics import BLEU, CHRF

    pairs = [(row["answer"], row["reference"]) for row in rows if row.get("reference") is not None]
    if not pairs:
        return {name: estimate(None, None, 0)}
    answers, references = (list(side) for side in zip(*pairs, strict=True))
    metric = BLEU(tokenize=bleu_tokenizer(references)) if name == "bleu" else CHRF()
    _give_plain_floats(metric)
    several = len(pairs) > 1
    score = metric.corpus_score(answers, [references], n_bootstrap=BOOTSTRAPS if several else 1)
    stderr = float(score._ci) / Z95 if several else None
    signature = str(metric.get_signature())
    return {name: estimate(float(score.score), stderr, len(pairs), signature=signature)}


class _Words:
    """rouge-score's own tokenizer keeps a-z and 0-9 only: 0 for every other script."""

    tokenize = staticmethod(words)


def rouge_l(rows: Sequence[Row]) -> Scores:
    """Return the mean F1 of the longest common subsequence of words (0 to 1)."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Words)
    f1 = _against(lambda answer, reference: scorer.score(reference, answer)["rougeL"].fmeasure)
    return {"rougeL": mean_of(f1, rows)}


def distinct_2(rows: Sequence[Row]) -> Scores:
    """Return the share of different bigrams of words among all answers' (Li et al. 2016).

    Without a standard error: it is no mean, and a bootstrap would repeat bigrams by itself.
    """
    said = [words(row["answer"]) for row in rows]
    bigrams = [pair for text in said for pair in pairwise(text)]
    value = len(set(bigrams)) / len(bigrams) if bigrams else None
    return {"distinct_2": estimate(value, None, sum(len(text) > 1 for text in said))}


# The score is of all answers together, or there are several.
WHOLES: dict[str, Callable[[Sequence[Row]], Scores]] = {
    "json_fields": json_fields,
    "bleu": lambda rows: _corpus(rows, "bleu"),
    "chrf": lambda rows: _corpus(rows, "chrf"),
    "rougeL": rouge_l,
    "distinct_2": distinct_2,
}
METRICS = (*MEANS, *WHOLES)


def fitting_metrics(references: Sequence[str]) -> list[str]:
    """Return the metrics that suit references of this look; [] of references means none."""
    always = ["ended", "answer_tokens", "repetition"]
    if not references:
        return [*always, "answer_chars", "distinct_2"]

    def mostly(has_form: Callable[[str], bool]) -> bool:
        return sum(map(has_form, references)) >= MOSTLY * len(references)

    if mostly(lambda text: text.strip()[:1] in ("{", "[") and is_json(text)):
        fitting = ["exact_match", "json_valid", "json_fields"]
    elif mostly(lambda text: "####" in text and final_number(text) is not None):
        fitting = ["numeric_answer"]
    elif median(len(text) for text in references) <= SHORT_CHARS:
        fitting = ["exact_match", "normalized_match"]
    else:
        fitting = ["bleu", "chrf", "rougeL"]
    return fitting + always


def check_metrics(names: Iterable[str]) -> None:
    """Raise StageError for a metric that there is not, naming the nearest."""
    from rapidfuzz import process

    for name in names:
        if name not in METRICS:
            near = process.extractOne(name, METRICS)[0]
            raise StageError(f"there is no metric '{name}'; did you mean '{near}'?")


def score(rows: Sequence[Row], metrics: Sequence[str] | None = None) -> Scores:
    """Return the scores of one set's answers; None for ``metrics`` takes what fits.

    Prompts without an answer (too long to be asked) are left out, and then ``answered`` says
    which share is left.
    """
    if metrics is None:
        metrics = fitting_metrics([r["reference"] for r in rows if r.get("reference") is not None])
    check_metrics(metrics)
    answered = [row for row in rows if row["answer"] is not None]
    scores: Scores = {}
    if len(answered) < len(rows):
        scores["answered"] = mean_estimate(row["answer"] is not None for row in rows)
    for name in metrics:
        if name in MEANS:
            scores[name] = mean_of(MEANS[name], answered)
        else:
            scores |= WHOLES[name](answered)
    return scores
