"""Scores that are no mean but follow from sums over the answers: BLEU, chrF, F1 of labels.

A table has a row per answer; the score of any choice of answers, also with repeats, follows from
the sum of their rows. So a bootstrap costs sums and not another look at the texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sftflow.matching import bare
from sftflow.stage import StageError
from sftflow.words import words

if TYPE_CHECKING:
    import numpy as np

MOST_LABELS = 1000
HAN = ("\u3400", "\u9fff")
OTHER_UNSPACED = (("\u0e00", "\u0e7f"), ("\u3040", "\u30ff"))


@dataclass(frozen=True)
class Sums:
    """What each answer adds, and the score that follows from a sum of such rows."""

    table: np.ndarray  # (answers, counts)
    score: Callable[[np.ndarray], np.ndarray]  # (..., counts) -> (...)
    signature: str | None = None


def bleu_tokenizer(references: Sequence[str]) -> str:
    """Return sacrebleu's tokenizer for the script of most words: 13a, zh or char."""
    tokens = [w for text in references for w in words(text)]
    other = [w for w in tokens if any(low <= w <= high for low, high in OTHER_UNSPACED)]
    han = [w for w in tokens if HAN[0] <= w <= HAN[1]]
    if (len(han) + len(other)) * 2 < len(tokens) or not tokens:
        return "13a"
    return "char" if other else "zh"


def overlap_metric(name: str, references: Sequence[str]) -> Any:
    """Return sacrebleu's BLEU or chrF as it suits these references.

    Mended for numpy 2: sacrebleu 2.6 averages float32 with the float of a zero score, which
    `statistics.mean` refuses, so that a bootstrap in which some sample scores 0 would raise.
    """
    from sacrebleu.metrics import BLEU, CHRF

    metric = BLEU(tokenize=bleu_tokenizer(references)) if name == "bleu" else CHRF()
    compute = metric._compute_score_from_stats

    def plain(counts: Any) -> Any:
        score = compute(counts)
        score.score = float(score.score)
        return score

    metric._compute_score_from_stats = plain
    return metric


def overlap(name: str, answers: Sequence[str], references: Sequence[str]) -> Sums:
    """Return what each answer adds to BLEU or chrF (0 to 100)."""
    import numpy as np

    metric = overlap_metric(name, references)
    table = np.array(metric._extract_corpus_statistics(list(answers), [list(references)]))

    def score(sums: np.ndarray) -> np.ndarray:
        flat = sums.reshape(-1, sums.shape[-1])
        found = [metric._compute_score_from_stats(list(row)).score for row in flat]
        return np.array(found).reshape(sums.shape[:-1])

    return Sums(table, score, str(metric.get_signature()))


def label_counts(average: str, answers: Sequence[str], references: Sequence[str]) -> Sums:
    """Return what each answer adds to the F1 of labels, averaged as scikit-learn's f1_score.

    Labels are what the references are, bare (see matching.bare). An answer that is none of them
    misses its label and counts as no other's. A label that no chosen row has or names says nothing.
    Raises StageError for so many labels that they are none.
    """
    import numpy as np

    labels = {label: i for i, label in enumerate(sorted({bare(text) for text in references}))}
    if len(labels) > MOST_LABELS:
        raise StageError(
            f"f1_{average} is of labels, and the references are {len(labels):,} different texts "
            f"({MOST_LABELS:,} at most); take word_f1 instead"
        )
    table = np.zeros((len(answers), 3, len(labels)), dtype=np.int8)  # hits, named, wanted
    for row, answer, reference in zip(table, answers, references, strict=True):
        said, wanted = labels.get(bare(answer)), labels[bare(reference)]
        row[2, wanted] = 1
        if said is not None:
            row[1, said] = 1
            row[0, said] = said == wanted

    def score(sums: np.ndarray) -> np.ndarray:
        counts = sums.reshape(*sums.shape[:-1], 3, len(labels))
        if average == "micro":
            counts = counts.sum(axis=-1, keepdims=True)
        hits, both = counts[..., 0, :], counts[..., 1, :] + counts[..., 2, :]
        with np.errstate(invalid="ignore"):
            return np.nanmean(2 * hits / np.where(both, both, np.nan), axis=-1)

    return Sums(table.reshape(len(answers), -1), score)


SUMS: dict[str, Callable[[Sequence[str], Sequence[str]], Sums]] = {
    "bleu": lambda answers, references: overlap("bleu", answers, references),
    "chrf": lambda answers, references: overlap("chrf", answers, references),
    "f1_macro": lambda answers, references: label_counts("macro", answers, references),
    "f1_micro": lambda answers, references: label_counts("micro", answers, references),
}
