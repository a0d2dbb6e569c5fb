"""What part of a slower answer comes from its length, and what part from the model.

An answer of x tokens takes t = b + k x. From model 0 to model 1 both the line and the mean length
of the model's own answers change, and t1 - t0 is shared out between the two by Shapley's rule: each
gets the mean of what it does before and after the other has changed, so that none comes first
(Shorrocks, Journal of Economic Inequality 11, 2013).

    by length   (k0 + k1) / 2 * (x1 - x0)
    by speed    (b1 - b0) + (k1 - k0) * (x0 + x1) / 2
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sftflow.figures import figure, percent, signed

Fit = Mapping[str, Any]


def own_lengths(
    fits: Sequence[Fit],
    models: Sequence[Mapping[str, Any]],
    lengths: Mapping[str, float | None],
) -> list[dict[str, Any]]:
    """Return each model's time for an answer of its own mean length, and why it changed.

    ``lengths`` holds the mean number of tokens of each model's own answers. The change is against
    the model that one starts from; ``speed_error`` is the standard error of its part.
    """
    known = {
        fit["model"]: fit
        for fit in fits
        if fit["b"]["value"] is not None and lengths.get(fit["model"]) is not None
    }
    rows = []
    for model in models:
        name, base = model["name"], model["base"]
        if name not in known:
            continue
        row = {"model": name, "tokens": lengths[name], "ms": _time(known[name], lengths[name])}
        parts = dict.fromkeys(("base", "change", "by_length", "by_speed", "speed_error", "said"))
        if base in known:
            parts |= _parts(known[base], known[name], lengths[base], lengths[name])
            parts |= {"base": base, "base_tokens": lengths[base]}
            parts["said"] = sentence({**row, **parts})
        rows.append({**row, **parts})
    return rows


def _time(fit: Fit, tokens: float) -> float:
    return fit["b"]["value"] + fit["k"]["value"] * tokens


def _parts(before: Fit, after: Fit, x0: float, x1: float) -> dict[str, float]:
    k0, k1, middle = before["k"]["value"], after["k"]["value"], (x0 + x1) / 2
    by_length = (k0 + k1) / 2 * (x1 - x0)
    by_speed = after["b"]["value"] - before["b"]["value"] + (k1 - k0) * middle
    return {
        "change": by_length + by_speed,
        "by_length": by_length,
        "by_speed": by_speed,
        "speed_error": math.hypot(line_error(before, middle), line_error(after, middle)),
    }


def line_error(fit: Fit, x: float) -> float:
    """Return the standard error of a fitted line ``b + k x`` at ``x``."""
    b, k, both = fit["b"]["stderr"], fit["k"]["stderr"], fit["covariance"]
    return math.sqrt(max(0.0, b * b + 2 * x * both + x * x * k * k))


def sentence(row: Mapping[str, Any]) -> str:
    """Say how much longer an answer takes, and what share of that its length accounts for."""
    change, length, speed = row["change"], row["by_length"], row["by_speed"]
    way, name = ("longer", "slowdown") if change > 0 else ("less", "speed-up")
    before = row["ms"] - change
    noise = ", no more than its noise" if abs(speed) <= 2 * row["speed_error"] else ""
    share = length / change if change else 0.0
    by_speed = f"{signed(speed)} ms ± {figure(row['speed_error'])} from the speed of the model"
    lengths = "longer" if length > 0 else "shorter"
    tokens = f"({figure(row['tokens'])} tokens instead of {figure(row['base_tokens'])})"
    if share > 0:
        part = f"{percent(share)} of" if share < 1 else "All of"
        why = f"{part} the {name} comes from {lengths} answers {tokens}: {signed(length)} ms, and "
    elif length:
        why = f"That is in spite of {lengths} answers {tokens}: {signed(length)} ms, but "
    else:
        why = f"Answers are as long as before ({figure(row['tokens'])} tokens): "
    return (
        f"{row['model']}: an answer of its mean length takes {figure(row['ms'])} ms, "
        f"{figure(abs(change))} ms ({percent(abs(change) / before)}) {way} than one of "
        f"{row['base']}. {why}{by_speed}{noise}."
    )
