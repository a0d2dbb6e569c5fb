"""Which settings the next trials of a search have, by Optuna's samplers.

A proposal is a pure function of the space, the sampler, the seed and the losses of the rounds
before: nothing is kept between rounds but the trials themselves, and a study is made of them anew.
So the same losses propose the same settings, and a round that grows keeps its first ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from sftflow.manifests import canonical_json, sha256_json
from sftflow.searches import Dimension, combinations, is_whole

#: After so many proposals that were there already, one of the values that are left is taken.
MOST_REPEATED = 100
DIGITS = 3  # of a proposed number: what rounds otherwise on another machine trains nothing anew

Finished = Sequence[tuple[Mapping[str, Any], float | None]]  # settings, validation loss


def proposals(
    space: Mapping[str, Dimension],
    sampler: str,
    seed: int,
    number: int,
    finished: Finished,
    count: int,
) -> list[dict[str, Any]]:
    """Return the settings of a round's trials, none of them as an earlier trial has.

    ``finished`` are the trials of the rounds before ``number``, in their order; a loss of None is
    that of a training that diverged, which counts as no better than the worst.
    """
    if sampler == "grid":
        return list(combinations(space))[:count]
    study, dimensions = _study(space, sampler if finished else "random", seed, number, finished)
    taken = {canonical_json(settings) for settings, _ in finished}
    found: list[dict[str, Any]] = []
    repeated = 0
    while len(found) < count:
        drawn = study.ask(dimensions).params
        settings = {key: value_of(space[key], drawn[key]) for key in sorted(space)}
        if canonical_json(settings) in taken and repeated < MOST_REPEATED:
            repeated += 1
            continue
        if repeated == MOST_REPEATED:
            settings = next(c for c in combinations(space) if canonical_json(c) not in taken)
        repeated = 0
        taken.add(canonical_json(settings))
        found.append(settings)
    return found


def _study(
    space: Mapping[str, Dimension], sampler: str, seed: int, number: int, finished: Finished
) -> tuple[Any, dict[str, Any]]:
    """Return an Optuna study that knows the finished trials, and its distributions by key."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    draws = int(sha256_json([seed, number])[:8], 16)
    samplers = {
        "random": lambda: optuna.samplers.RandomSampler(seed=draws),
        "tpe": lambda: optuna.samplers.TPESampler(seed=draws, n_startup_trials=0),
        "gp": lambda: optuna.samplers.GPSampler(
            seed=draws, n_startup_trials=0, deterministic_objective=True
        ),
    }
    study = optuna.create_study(sampler=samplers[sampler]())
    dimensions = {key: _distribution(space[key]) for key in sorted(space)}
    worst = max((loss for _, loss in finished if loss is not None), default=0.0)
    for settings, loss in finished:
        drawn = {key: drawn_of(space[key], settings[key]) for key in dimensions}
        trial = optuna.trial.create_trial(
            params=drawn, distributions=dimensions, value=worst if loss is None else loss
        )
        study.add_trial(trial)
    return study, dimensions


def _distribution(dimension: Dimension) -> Any:
    """Return Optuna's distribution; of choices their number is drawn, so they may be anything."""
    from optuna import distributions

    if "choices" in dimension:
        return distributions.CategoricalDistribution(range(len(dimension["choices"])))
    low, high, step = dimension["low"], dimension["high"], dimension["step"]
    if is_whole(dimension):
        return distributions.IntDistribution(low, high, log=dimension["log"], step=step or 1)
    return distributions.FloatDistribution(low, high, log=dimension["log"], step=step)


def value_of(dimension: Dimension, drawn: Any) -> Any:
    """Return the setting that a drawn number means."""
    if "choices" in dimension:
        return dimension["choices"][drawn]
    if is_whole(dimension):
        return int(drawn)
    if dimension["step"] is not None:
        return float(f"{drawn:.12g}")
    return min(max(float(f"{drawn:.{DIGITS}g}"), dimension["low"]), dimension["high"])


def drawn_of(dimension: Dimension, value: Any) -> Any:
    """Return the number that a setting was drawn as."""
    if "choices" in dimension:
        said = [canonical_json(choice) for choice in dimension["choices"]]
        return said.index(canonical_json(value))
    return value
