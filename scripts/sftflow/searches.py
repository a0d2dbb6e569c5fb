"""A run's search: how many trials in which rounds, and what settings a trial stands for.

Pure functions of a run's ``search`` in the checked config. Trials are numbered from 1 through all
rounds. What a trial is depends on the trials of the rounds before and on nothing after it, so
more trials leave the earlier ones as they are.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Search = Mapping[str, Any]
Dimension = Mapping[str, Any]


def searched_runs(config: Mapping[str, Any]) -> list[str]:
    """Return the runs whose settings are searched; the others are trained as they stand."""
    return [name for name, run in config["runs"].items() if run["search"] is not None]


def learns(search: Search) -> bool:
    """Return whether later proposals depend on earlier losses."""
    return search["sampler"] in ("tpe", "gp")


def trial_count(search: Search) -> int:
    """Return how many trials a search has."""
    if search["sampler"] == "grid":
        return math.prod(len(dimension["choices"]) for dimension in search["space"].values())
    return search["trials"]


def round_of(search: Search, trial: int) -> int:
    """Return the round in which a trial is proposed, from 1."""
    first = search["startup_trials"]
    if not learns(search) or trial <= first:
        return 1
    return 2 + (trial - first - 1) // search["per_round"]


def round_trials(search: Search, number: int) -> list[int]:
    """Return the trials of a round."""
    every = range(1, trial_count(search) + 1)
    return [trial for trial in every if round_of(search, trial) == number]


def earlier_trials(search: Search, number: int) -> list[int]:
    """Return the trials by whose losses a round is proposed."""
    every = range(1, trial_count(search) + 1)
    return [trial for trial in every if round_of(search, trial) < number]


def round_count(search: Search) -> int:
    """Return how many rounds a search has."""
    return round_of(search, trial_count(search))


def settled(run: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a run in which keys such as ``training.learning_rate`` have these values.

    Raises KeyError for a key that a run has not got.
    """
    one = copy.deepcopy(dict(run))
    for key, value in settings.items():
        *path, last = key.split(".")
        place = one
        for part in path:
            place = place[part]
            if not isinstance(place, dict):
                raise KeyError(key)
        if last not in place:
            raise KeyError(key)
        place[last] = value
    return one


def is_whole(dimension: Dimension) -> bool:
    """Return whether a range is one of whole numbers: both of its bounds are."""
    ends = (dimension["low"], dimension["high"], dimension["step"] or 1)
    return all(isinstance(end, int) for end in ends)


def points(dimension: Dimension) -> Sequence[Any] | None:
    """Return the values that a dimension can have, None if there is no end of them."""
    if "choices" in dimension:
        return dimension["choices"]
    low, high, step = dimension["low"], dimension["high"], dimension["step"]
    if is_whole(dimension):
        return range(low, high + 1, step or 1)
    if step is None:
        return None
    return [stepped(low, step, number) for number in range(int((high - low) / step + 1e-9) + 1)]


def stepped(low: float, step: float, number: int) -> float:
    """Return a value so many steps above the lowest, without what binary fractions add."""
    return float(f"{low + number * step:.12g}")


def combination_count(space: Mapping[str, Dimension]) -> int | None:
    """Return how many combinations a space has, None if there is no end of them."""
    found = [points(dimension) for dimension in space.values()]
    return None if None in found else math.prod(len(values) for values in found)


def combinations(space: Mapping[str, Dimension]) -> Iterator[dict[str, Any]]:
    """Yield every combination of a space that has an end of them, by the names of its keys."""
    keys = sorted(space)
    for values in itertools.product(*(points(space[key]) for key in keys)):
        yield dict(zip(keys, values, strict=True))
