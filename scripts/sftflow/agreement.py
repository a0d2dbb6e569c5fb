"""How far raters agree: Krippendorff's alpha for ordinal data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def krippendorff_alpha(units: Iterable[Sequence[int]]) -> float | None:
    """Return alpha = 1 - D_observed / D_expected for ordinal scores; None where it is undefined.

    ``units`` are the scores that each item got, from any raters; an item with fewer than two says
    nothing. 1 is full agreement, 0 what chance gives, below 0 is worse; it is undefined without
    such items, and where all scores are equal. Formulas and the ordinal distance are those of
    Krippendorff 2011, Computing Krippendorff's Alpha-Reliability
    (https://repository.upenn.edu/handle/20.500.14332/2089), whose example is in the tests: with o
    the matrix of coincidences and n_c its sums,

        delta(c, k)^2 = (n_c / 2 + sum of n_g for c < g < k + n_k / 2)^2
        alpha = 1 - (n - 1) sum(o delta^2) / sum(n_c n_k delta^2)
    """
    import numpy as np

    pairable = [list(scores) for scores in units if len(scores) > 1]
    values = sorted({score for scores in pairable for score in scores})
    place = {value: i for i, value in enumerate(values)}
    coincidences = np.zeros((len(values), len(values)))
    for scores in pairable:
        counts = np.bincount([place[s] for s in scores], minlength=len(values)).astype(float)
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(scores) - 1)
    sums = coincidences.sum(axis=1)
    reach = np.cumsum(sums) - sums / 2  # of the middle of each value's ranks
    squared = (reach[:, None] - reach[None, :]) ** 2
    expected = float((np.outer(sums, sums) * squared).sum())
    if not expected:
        return None
    observed = float((coincidences * squared).sum())
    return 1 - (float(sums.sum()) - 1) * observed / expected
