"""How sure a difference is: bootstrap intervals and exact or randomisation tests, seeded.

The bootstrap is the percentile one (Efron and Tibshirani, An Introduction to the Bootstrap,
1993, ch. 13), paired where two models answered the same rows (Koehn, 2004, W04-3250): rows are
drawn, with both models' answers to them. Right and wrong are tested by McNemar's exact test
(McNemar, 1947: the binomial test of the rows on which the models differ), all else by exchanging
the two models' answers row by row at random (Noreen, 1989; Riezler and Maxwell, 2005,
W05-0908), which is exact where there are few rows. All from scipy.stats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sftflow.sums import Sums

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 4999
CONFIDENCE = 0.95
SEED = 0
CELLS_AT_ONCE = 4_000_000  # numbers held in memory by one step of a resampling

Interval = tuple[float, float, float]  # low, high, standard error


def bootstrap_mean(values: np.ndarray) -> Interval:
    """Return the interval and the standard error of a mean over two values or more."""
    import numpy as np

    return _bootstrap(values, np.mean, 1)


def bootstrap_sums(parts: Sequence[Sums], combine: Callable[..., Any]) -> Interval:
    """Return the interval and the standard error of what ``combine`` makes of the parts' scores.

    All parts have a row per answer, in the same order; the same rows are drawn of each.
    """
    import numpy as np

    rows = np.arange(len(parts[0].table))

    def statistic(drawn: np.ndarray, axis: int) -> np.ndarray:
        scores = [part.score(part.table[drawn].sum(axis=axis - 1)) for part in parts]
        return combine(*scores)

    return _bootstrap(rows, statistic, parts[0].table.shape[1])


def _bootstrap(values: np.ndarray, statistic: Callable[..., Any], width: int) -> Interval:
    import numpy as np
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,),
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, CELLS_AT_ONCE // (len(values) * width)),
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(SEED),
    )
    interval = found.confidence_interval
    return float(interval.low), float(interval.high), float(found.standard_error)


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the two-sided p of McNemar's exact test; 1 where no row differs."""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def exchange_mean_p(differences: np.ndarray) -> float:
    """Return the two-sided p of a mean difference, by turning the signs of rows at random."""
    import numpy as np

    # A row without a difference adds nothing, whatever its sign; a single one has two signs.
    moved = differences[differences != 0]
    return _exchange((moved,), np.mean, 1) if len(moved) > 1 else 1.0


def exchange_sums_p(first: Sums, second: Sums) -> float:
    """Return the two-sided p of a difference of scores, by exchanging rows at random."""
    import numpy as np

    both, n = np.concatenate([first.table, second.table]), len(first.table)

    def difference(one: np.ndarray, other: np.ndarray, axis: int) -> np.ndarray:
        scores = [first.score(both[rows].sum(axis=axis - 1)) for rows in (one, other)]
        return scores[1] - scores[0]

    if n == 1 or (first.table == second.table).all():
        return 1.0
    return _exchange((np.arange(n), np.arange(n, 2 * n)), difference, both.shape[1])


def _exchange(samples: tuple[np.ndarray, ...], statistic: Callable[..., Any], width: int) -> float:
    import numpy as np
    from scipy.stats import permutation_test

    found = permutation_test(
        samples,
        statistic,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, CELLS_AT_ONCE // (len(samples[0]) * width)),
        rng=np.random.default_rng(SEED),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted by Holm's method (1979) for all that are known."""
    from statsmodels.stats.multitest import multipletests

    known = [p for p in p_values if p is not None]
    adjusted = iter(multipletests(known, method="holm")[1] if known else ())
    return [None if p is None else float(next(adjusted)) for p in p_values]
