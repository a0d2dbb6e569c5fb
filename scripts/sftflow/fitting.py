"""Straight lines through timed requests, their intervals, and whether they hold.

``answer``       e2e = b + k x: x generated tokens, all prompt lengths together
``by_prompt``    the same for each prompt length p alone: b over p
``first_token``  ttft = a + c p
``plane``        e2e = a + c p + k x, with the residual of each cell and a test of its shape

All are ordinary least squares over single requests. The 95 % intervals are Student's: they take
the scatter to be the same in every cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BENT = 0.1  # a cell's mean lies further from the plane than this share of it ...
SURE = 0.01  # ... and the test gives the plane less than this: then it does not hold

Timed = Mapping[str, Any]


def least_squares(
    y: Sequence[float], names: Sequence[str], *columns: Sequence[float]
) -> tuple[dict[str, Any], Any]:
    """Return ``y = names[0] + names[1] * columns[0] + ...`` and what statsmodels makes of it.

    The values are None where the points do not determine the coefficients.
    """
    design = np.column_stack([np.ones(len(y)), *(np.asarray(c, float) for c in columns)])
    if len(y) <= len(names) or np.linalg.matrix_rank(design) < len(names):
        nothing = dict.fromkeys(("value", "low", "high", "stderr"))
        return {**dict.fromkeys(names, nothing), "r_squared": None, "n": len(y)}, None
    import statsmodels.api as sm

    fit = sm.OLS(np.asarray(y, float), design).fit()
    interval = fit.conf_int(alpha=0.05)
    terms = {
        name: {
            "value": float(fit.params[i]),
            "low": float(interval[i][0]),
            "high": float(interval[i][1]),
            "stderr": float(fit.bse[i]),
        }
        for i, name in enumerate(names)
    }
    return {**terms, "r_squared": float(fit.rsquared), "n": len(y)}, fit


def line(x: Sequence[float], y: Sequence[float], names: tuple[str, str]) -> dict[str, Any]:
    """Return the line through points; ``names`` are the keys of intercept and slope.

    ``covariance`` is that of the two, which the interval of the line itself takes.
    """
    said, fit = least_squares(y, names, x)
    covariance = None if fit is None else float(fit.cov_params()[0, 1])
    return {**said, "covariance": covariance}


def plane(rows: Sequence[Timed]) -> dict[str, Any]:
    """Return e2e = a + c p + k x with its residual in each cell, and whether it holds.

    ``holds`` is false if a cell's mean is more than ``BENT`` away from the plane and the
    lack-of-fit test leaves the plane less than ``SURE``; None if there is nothing to test with.
    """
    p, x, y = (
        np.asarray([row[key] for row in rows], float)
        for key in ("prompt_tokens", "output_tokens", "e2e_ms")
    )
    said, fit = least_squares(y, ("a_ms", "c_ms_per_prompt_token", "k_ms_per_token"), p, x)
    if fit is None:
        return {**said, "lack_of_fit": None, "residuals": [], "worst_share": None, "holds": None}
    cells = sorted(set(zip(p.tolist(), x.tolist(), strict=True)))
    inside = [(p == cell[0]) & (x == cell[1]) for cell in cells]
    residuals = [
        {
            "prompt_tokens": int(cell[0]),
            "output_tokens": int(cell[1]),
            "fitted_ms": float(fit.fittedvalues[where][0]),
            "residual_ms": float(fit.resid[where].mean()),
            "stderr_ms": float(y[where].std(ddof=1) / where.sum() ** 0.5)
            if where.sum() > 1
            else None,
        }
        for cell, where in zip(cells, inside, strict=True)
    ]
    test = lack_of_fit(y, inside, float(fit.ssr), 3)
    worst = max(abs(one["residual_ms"] / one["fitted_ms"]) for one in residuals)
    holds = None if test is None else bool(worst <= BENT or test["p_value"] >= SURE)
    return {
        **said,
        "lack_of_fit": test,
        "residuals": residuals,
        "worst_share": worst,
        "holds": holds,
    }


def lack_of_fit(
    y: np.ndarray, cells: Sequence[np.ndarray], squares: float, coefficients: int
) -> dict[str, Any] | None:
    """Return the F test of a model's shape against the scatter of repeated measurements.

    ``cells`` are masks of ``y``, one per point of the design; ``squares`` is the model's sum of
    squared residuals. None where no point is repeated or the model has a coefficient for each.
    Draper and Smith, Applied Regression Analysis, 3rd ed., section 2.1.
    """
    pure = sum(float(((y[where] - y[where].mean()) ** 2).sum()) for where in cells)
    more, within = len(cells) - coefficients, len(y) - len(cells)
    if more < 1 or within < 1 or pure == 0:
        return None
    from scipy.stats import f

    ratio = max(0.0, squares - pure) / more / (pure / within)
    return {"f": ratio, "df": [more, within], "p_value": float(f.sf(ratio, more, within))}


def fits(rows: Sequence[Timed]) -> list[dict[str, Any]]:
    """Return the lines and the plane of each concurrency.

    k is the time per further token and b + k the time to the first one.
    """
    found = []
    for concurrency in sorted({row["concurrency"] for row in rows}):
        some = [row for row in rows if row["concurrency"] == concurrency]
        prompts = sorted({row["prompt_tokens"] for row in some})
        first = line(
            [row["prompt_tokens"] for row in some],
            [row["ttft_ms"] for row in some],
            ("a_ms", "c_ms_per_token"),
        )
        by_prompt = [
            {"prompt_tokens": p, **_answer([row for row in some if row["prompt_tokens"] == p])}
            for p in prompts
        ]
        found.append(
            {
                "concurrency": concurrency,
                "answer": _answer(some),
                "first_token": first,
                "by_prompt": by_prompt,
                "plane": plane(some),
            }
        )
    return found


def _answer(rows: Sequence[Timed]) -> dict[str, Any]:
    return line(
        [row["output_tokens"] for row in rows],
        [row["e2e_ms"] for row in rows],
        ("b_ms", "k_ms_per_token"),
    )
