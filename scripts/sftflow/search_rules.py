"""What must hold of a run's search, beyond what a schema can say."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

from sftflow.method_rules import method_faults
from sftflow.methods import METHODS, OPTIONS
from sftflow.searches import combination_count, points, searched_runs, settled, trial_count

MOST_POINTS = 100_000  # values of one key that a step may make

Check = Callable[[dict], list[str]]


def search_faults(config: dict, check: Check) -> list[str]:
    """Return the faults of searches; ``check`` says those of a config against the schema."""
    faults = []
    for name in searched_runs(config):
        run, key = config["runs"][name], f"runs.{name}.search"
        shapes = [f"{key}.{fault}" for fault in _space_faults(run)]
        if not shapes:  # or what follows has no values to go by
            shapes += [f"{key}.{fault}" for fault in _size_faults(run["search"])]
            shapes += _value_faults(config, name, check)
        faults += shapes
        if run["dpo"] is not None:
            faults.append(f"{key}: stands beside dpo, which is not searched; sweep the run instead")
        faults += [f"{key}: {fault}" for fault in _beside(run["training"])]
        dataset = config["datasets"].get(run["dataset"])
        if dataset is not None and not dataset["split"]["validation"]:
            faults.append(
                f"{key}: goes by validation loss, and dataset '{run['dataset']}' has no "
                "validation rows; set its split.validation"
            )
    return faults


def _beside(training: dict) -> Iterator[str]:
    """Yield what trials don't do: they are compared by the loss alone, and tell no tracker."""
    off = {"eval_generation": [None], "metric_for_best_model": ["loss"]}
    off["report_to"] = [[], ["tensorboard"]]  # which is asked of every run
    for option, values in off.items():
        if training[option] not in values:
            yield (
                f"goes by validation loss alone; leave training.{option} out, and train the best "
                "settings in a run of their own for it"
            )


def _space_faults(run: dict) -> Iterator[str]:
    options = METHODS[run["method"]].options
    for key, dimension in run["search"]["space"].items():
        place = f"space.{key}"
        try:
            settled(run, {key: None})
        except KeyError:
            yield f"{place}: is no key of a run"
            continue
        if any(isinstance(value, dict) for value in [_value_at(run, key), *_choices(dimension)]):
            yield f"{place}: a group of keys can't be searched; name each key by itself"
            continue
        head = key.split(".")[0]
        if head in OPTIONS and head != options:
            yield f"{place}: is not for method {run['method']}; leave it out"
        elif head not in ("training", options):
            listed = "training" if options is None else f"training and {options}"
            yield (
                f"{place}: trials are compared by validation loss, and with other values of this "
                f"key it would not be the same loss; search keys of {listed}"
            )
        if key in run["sweep"]:
            yield f"{place}: stands under sweep too; leave one of them out"
        yield from (f"{place}: {fault}" for fault in _dimension_faults(dimension))
        if run["search"]["sampler"] == "grid" and "choices" not in dimension:
            yield f"{place}: sampler grid needs choices"


def _value_at(run: dict, key: str) -> Any:
    place: Any = run
    for part in key.split("."):
        place = place[part]
    return place


def _choices(dimension: dict) -> list[Any]:
    return dimension.get("choices", [])


def _dimension_faults(dimension: dict) -> Iterator[str]:
    bounds = {"low", "high"} & dimension.keys()
    if "choices" in dimension:
        if bounds or dimension["log"] or dimension["step"] is not None:
            yield "has choices and bounds; leave one of them out"
        return
    if len(bounds) < 2:
        yield "needs low and high, or choices"
        return
    low, high = dimension["low"], dimension["high"]
    if low >= high:
        yield f"low ({low}) must be less than high ({high})"
        return
    step = dimension["step"]
    if step is not None and step > high - low:
        yield f"step ({step}) leads over high ({high}) at once; lower it"
    elif step is not None and (high - low) / MOST_POINTS > step:
        yield f"step ({step}) makes more than {MOST_POINTS:,} values; raise it or leave it out"
    if dimension["log"] and low <= 0:
        yield f"low is {low}, which has no logarithm; raise it or leave log out"
    if dimension["log"] and dimension["step"] is not None:
        yield "log and step stand beside each other; leave one of them out"


def _size_faults(search: dict) -> Iterator[str]:
    count = combination_count(search["space"])
    if count is not None and trial_count(search) > count:
        yield (
            f"trials: {search['trials']} are more than the {count} combinations of the space; "
            "lower it, or set sampler: grid"
        )


def _value_faults(config: dict, name: str, check: Check) -> Iterator[str]:
    """Faults of a run that some values of the space would have, said of the space."""
    run, already = config["runs"][name], set(check(config) + method_faults(config))
    told: set[str] = set()
    for settings in _settings_tried(run["search"]["space"]):
        one = {**config, "runs": {**config["runs"], name: settled(run, settings)}}
        faults = check(one) if len(settings) == 1 else []
        for fault in faults or method_faults(one):
            where, _, said = fault.partition(": ")
            if fault in already or where in told:
                continue
            told.add(where)
            inner = where.removeprefix(f"runs.{name}.")
            named = " and ".join(f"{key} {_said(value)}" for key, value in settings.items())
            beside = "" if inner in settings else f" ({inner})"
            yield f"runs.{name}.search.space: with {named}{beside}: {said}"


def _settings_tried(space: dict) -> Iterator[dict[str, Any]]:
    """Yield the values by which a space is judged: each by itself, then each pair of two keys."""
    for count in (1, 2):
        for keys in itertools.combinations(space, count):
            for values in itertools.product(*(_tried(space[key]) for key in keys)):
                yield dict(zip(keys, values, strict=True))


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _tried(dimension: dict) -> list[Any]:
    """Return values by which a dimension can be judged: its choices, or its ends and one between.

    The one between is no whole number where the bounds are not, whatever they are.
    """
    if "choices" in dimension:
        return dimension["choices"]
    low, high, every = dimension["low"], dimension["high"], points(dimension)
    return [low, high, low + (high - low) / 2**0.5 if every is None else every[1]]
