"""Scores of answers: each metric with its standard error and the number of answers behind it.

A row is what generate_answers left: ``answer`` and ``reference`` (str or null),
``finish_reason``, ``completion_tokens``. A metric leaves out rows about which it can't say
anything (no reference, too short for a 4-gram ...), and its ``n`` is what is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from sftflow.estimates import Estimate, estimate, mean_estimate
from sftflow.matching import (
    bare,
    final_number,
    is_json,
    right_fields,
    right_share,
    same_number,
    word_overlap,
)
from sftflow.resampling import bootstrap_sums
from sftflow.rouge import rouge_l
from sftflow.stage import StageError
from sftflow.sums import SUMS, overlap_metric
from sftflow.words import words

Row = Mapping[str, Any]
Scores = dict[str, Estimate]
Values = dict[str, list[float | None]]  # metric -> one value per row, None where it says nothing

MOSTLY = 0.9  # share of the references that must have a form, so that a few bad rows don't matter
SHORT_CHARS = 40  # median length up to which equality says more than n-gram overlap
ROWS_PER_LABEL = 5  # references are labels if each stands so often on average ...
MOST_LABELS = 50  # ... and there are no more than these
FIELDS_SHOWN = 32  # JSON keys with a figure of their own
BOOTSTRAPS = 1000
Z95 = 1.959964  # half of a 95 % interval in standard errors


def repeated_share(text: str, size: int = 4) -> float | None:
    """Return the share of n-grams of words that occurred before; None if there are none."""
    said = words(text)
    grams = ngrams(said, size)
    return 1 - len(set(grams)) / len(grams) if grams else None


def ngrams(said: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Return the runs of ``size`` words, in order."""
    return [tuple(said[i : i + size]) for i in range(len(said) - size + 1)]


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


def _same_bare(answer: str, reference: str) -> bool:
    return bare(answer) == bare(reference)


# Each answer has a value of its own, and the score is their mean.
MEANS: dict[str, Callable[[Row], float | None]] = {
    "exact_match": _against(lambda a, r: a.strip() == r.strip()),
    "normalized_match": _against(_same_bare),
    "accuracy": _against(_same_bare),  # of labels
    "word_f1": _against(word_overlap),
    "rougeL": _against(lambda a, r: rouge_l(words(a), words(r))),
    "numeric_answer": _against(same_number),
    "json_valid": lambda row: float(is_json(row["answer"])),
    "answer_chars": lambda row: float(len(row["answer"])),
    "answer_tokens": lambda row: row.get("completion_tokens"),
    "ended": _ended,
    "repetition": lambda row: repeated_share(row["answer"]),
}


def json_fields(rows: Sequence[Row]) -> Values:
    """Return the share of the reference's JSON fields that are right, and each field's 1 or 0."""
    right = [right_fields(row["answer"], row.get("reference")) or {} for row in rows]
    fields = sorted({name for one in right for name in one})
    values = {"json_fields": [_against(right_share)(row) for row in rows]}
    if len(fields) <= FIELDS_SHOWN:
        values |= {f"json_fields.{name}": [one.get(name) for one in right] for name in fields}
    return values


# As MEANS, but what each answer has is made for all of them at once, or has several names.
FAMILIES: dict[str, Callable[[Sequence[Row]], Values]] = {
    "json_fields": json_fields,
}


def row_values(name: str, rows: Sequence[Row]) -> Values:
    """Return the values of each row for a metric of MEANS or FAMILIES; all have an answer."""
    if name in FAMILIES:
        return FAMILIES[name](rows)
    return {name: [MEANS[name](row) for row in rows]}


def answered_pairs(rows: Iterable[Row]) -> tuple[list[str], list[str]]:
    """Return the answers and the references of the rows that have both."""
    both = [(r["answer"], r["reference"]) for r in rows if r.get("reference") is not None]
    return [answer for answer, _ in both], [reference for _, reference in both]


def corpus_overlap(rows: Sequence[Row], name: str) -> Estimate:
    """Return sacrebleu's BLEU or chrF (0 to 100); the error is from 1000 bootstrap samples."""
    answers, references = answered_pairs(rows)
    if not answers:
        return estimate(None, None, 0)
    metric = overlap_metric(name, references)
    several = len(answers) > 1
    score = metric.corpus_score(answers, [references], n_bootstrap=BOOTSTRAPS if several else 1)
    stderr = float(score._ci) / Z95 if several else None
    signature = str(metric.get_signature())
    return estimate(float(score.score), stderr, len(answers), signature=signature)


def label_f1(rows: Sequence[Row], average: str) -> Estimate:
    """Return scikit-learn's F1 over the labels of the references; the error is from a bootstrap."""
    from sklearn.metrics import f1_score

    answers, references = answered_pairs(rows)
    if not answers:
        return estimate(None, None, 0)
    wanted, said = [bare(text) for text in references], [bare(text) for text in answers]
    labels = sorted(set(wanted))
    value = f1_score(wanted, said, labels=labels, average=average, zero_division=0)
    several = len(answers) > 1
    sums = SUMS[f"f1_{average}"](answers, references)
    stderr = bootstrap_sums([sums], lambda score: score)[2] if several else None
    return estimate(float(value), stderr, len(answers), labels=len(labels))


def distinct(rows: Sequence[Row], size: int) -> Estimate:
    """Return the share of different n-grams of words among all answers' (Li et al. 2016).

    Without a standard error: it is no mean, and a bootstrap would repeat n-grams by itself.
    """
    said = [ngrams(words(row["answer"]), size) for row in rows]
    grams = [gram for one in said for gram in one]
    value = len(set(grams)) / len(grams) if grams else None
    return estimate(value, None, sum(map(bool, said)))


# The score is of all answers together.
WHOLES: dict[str, Callable[[Sequence[Row]], Estimate]] = {
    "bleu": lambda rows: corpus_overlap(rows, "bleu"),
    "chrf": lambda rows: corpus_overlap(rows, "chrf"),
    "f1_macro": lambda rows: label_f1(rows, "macro"),
    "f1_micro": lambda rows: label_f1(rows, "micro"),
    "distinct_1": lambda rows: distinct(rows, 1),
    "distinct_2": lambda rows: distinct(rows, 2),
    "distinct_3": lambda rows: distinct(rows, 3),
}
METRICS = (*MEANS, *FAMILIES, *WHOLES)


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
    elif median(len(text) for text in references) > SHORT_CHARS:
        fitting = ["bleu", "chrf", "rougeL"]
    elif are_labels(references):
        fitting = ["accuracy", "f1_macro"]
    else:
        fitting = ["exact_match", "normalized_match"]
    return fitting + always


def are_labels(references: Sequence[str]) -> bool:
    """Say whether references are a few labels that come again and again."""
    often = Counter(map(bare, references))
    few = 2 <= len(often) <= MOST_LABELS
    return few and len(often) * ROWS_PER_LABEL <= len(references)


def check_metrics(names: Iterable[str]) -> None:
    """Raise StageError for a metric that there is not, naming the nearest."""
    from rapidfuzz import process

    for name in names:
        if name not in METRICS:
            near = process.extractOne(name, METRICS)[0]
            raise StageError(f"there is no metric '{name}'; did you mean '{near}'?")


def chosen_metrics(rows: Iterable[Row], asked: Sequence[str] | None) -> list[str]:
    """Return the metrics asked for, or where that is None those that fit the references."""
    if asked is None:
        return fitting_metrics([r["reference"] for r in rows if r.get("reference") is not None])
    check_metrics(asked)
    return list(asked)


def score(rows: Sequence[Row], metrics: Sequence[str] | None = None) -> Scores:
    """Return the scores of one set's answers; None for ``metrics`` takes what fits.

    Prompts without an answer (too long to be asked) are left out, and then ``answered`` says
    which share is left.
    """
    chosen = chosen_metrics(rows, metrics)
    answered = [row for row in rows if row["answer"] is not None]
    scores: Scores = {}
    if len(answered) < len(rows):
        scores["answered"] = mean_estimate(row["answer"] is not None for row in rows)
    for name in chosen:
        if name in WHOLES:
            scores[name] = WHOLES[name](answered)
        else:
            scores |= mean_scores(name, answered)
    return scores


def mean_scores(name: str, answered: Sequence[Row]) -> Scores:
    """Return the means of a metric of MEANS or FAMILIES."""
    values = row_values(name, answered)
    return {key: mean_estimate(v for v in each if v is not None) for key, each in values.items()}
