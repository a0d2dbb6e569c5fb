"""The colour of each model on the page, and of which are told apart where there are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sftflow.plots import BASE_COLORS, TUNED_COLORS

#: Of models beyond as many as there are colours.
OTHER_COLOR = "#b3bac4"


def model_colors(models: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return a colour per model name, quiet ones for bases."""
    palettes = {"base": BASE_COLORS, "tuned": TUNED_COLORS}
    seen = {"base": 0, "tuned": 0}
    colors = {}
    for model in models:
        palette = palettes[model["kind"]]
        colors[model["name"]] = palette[seen[model["kind"]] % len(palette)]
        seen[model["kind"]] += 1
    return colors


def told_apart(colors: Mapping[str, str], best_first: Sequence[str]) -> dict[str, str]:
    """Return the colours of many models in one plot: where they repeat, the best keep theirs.

    ``colors`` are those of all models in the plot, ``best_first`` the tuned ones.
    """
    tuned = [name for name in best_first if name in colors]
    if len(tuned) <= len(TUNED_COLORS):
        return dict(colors)
    own = dict(zip(tuned, TUNED_COLORS, strict=False))
    bases = {name: color for name, color in colors.items() if name not in tuned}
    return {name: {**bases, **own}.get(name, OTHER_COLOR) for name in colors}


def color_key(colors: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the names and colours beside a plot; those that share the quiet one are counted."""
    named = [(name, color) for name, color in colors.items() if color != OTHER_COLOR]
    others = len(colors) - len(named)
    return [*named, *([(f"{others} more", OTHER_COLOR)] if others else [])]
