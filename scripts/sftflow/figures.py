"""How numbers are written on the page: enough digits to compare, none to boast."""

from __future__ import annotations

import math

ABSENT = "–"
ROUNDING = 1e-6  # float32 sums of measures near 1, in another order, differ by less


def figure(value: float | None) -> str:
    """Return a measured number with two to four digits; – if there is none."""
    if value is None:
        return ABSENT
    size = abs(value)
    if size >= 1e9 or 0 < size < 5e-5:
        return f"{value:.2e}"
    return ("−" if value < 0 else "") + f"{size:,.{decimals(value)}f}"


def decimals(value: float) -> int:
    """Return how many decimals ``figure`` gives a number."""
    size = abs(value)
    if size >= 100:
        return 0
    if size >= 10:
        return 1
    if size > 1:
        return 2
    if size == 0 or size >= 5e-3:
        return 3  # so that shares, 0 and 1 included, stand under each other
    return 1 - math.floor(math.log10(size))


def error(value: float | None, of: float) -> str:
    """Return a standard error with as many decimals as the figure it belongs to."""
    if value is None:
        return ABSENT
    text = f"{value:,.{decimals(of)}f}"
    return figure(value) if value and not text.strip("0.,") else text


def signed(value: float | None) -> str:
    """Return ``figure`` of a difference with a plus or a true minus sign; ± for none.

    One below ROUNDING is none: it says in which order was summed, not what was measured.
    """
    if value is None:
        return ABSENT
    value = value if abs(value) >= ROUNDING else 0.0
    text = figure(abs(value))
    return ("+" if value > 0 else "−" if value < 0 else "±") + text


def count(value: int | None) -> str:
    """Return a whole number with thousands separated; – if there is none."""
    return ABSENT if value is None else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """Return a share as a percentage; – if there is none."""
    if share is None:
        return ABSENT
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def plain(value: object) -> str:
    """Return a setting as it was written; – if there is none."""
    return ABSENT if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def rounded(value: float | None) -> str:
    """Return a number with three digits at most, whole ones as such; – if there is none."""
    return ABSENT if value is None else f"{value:.3g}"
