"""What a schema can't say about gates and comparisons: sentences, [] if all is well."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sftflow.faultrules import FaultRule, fault_rule
from sftflow.faultscores import FAULT_SCORES
from sftflow.gates import BENCHMARK, Rule, parsed
from sftflow.goodput import limits
from sftflow.measured import QUANTILES, SERVER, TIMES, cell_name, rate_name
from sftflow.plan import (
    form_of,
    forms,
    judged_pairs,
    model_datasets,
    model_suites,
    models,
    preference_runs,
    run_of,
    sheet_models,
    tuned_models,
)
from sftflow.schemes import SCHEMES
from sftflow.scoring import METRICS
from sftflow.sheets import CRITERIA
from sftflow.stage import StageError
from sftflow.suites import folder_tasks

Measures = list[tuple[str, str]]  # group, metric; * stands for what only a measurement tells

#: Metrics of the tasks that lm-eval ships, as far as rules name them by themselves.
SHIPPED = ("acc", "acc_norm", "exact_match", "f1", "bleu", "chrf", "word_perplexity")
FITS = ("b_ms", "k_ms_per_token", "ttft_ms_per_prompt_token")
REWARDS = ("reward_accuracy", "reward_margin", "chosen_reward", "rejected_reward")
RECITED = ("train_exact", "train_prefix_tokens", "validation_exact", "validation_prefix_tokens")


def comparison_faults(config: dict) -> Iterator[str]:
    """Yield the faults of the pairs to compare."""
    known = models(config)
    for place, pair in enumerate(config["comparisons"]):
        key = f"comparisons[{place}]"
        unknown = [name for name in pair if name not in known]
        yield from (f"{key}: {_no_model(name, known, config)}" for name in unknown)
        if not unknown and not any(
            set.intersection(*(set(of(config, name)) for name in pair))
            for of in (model_datasets, model_suites)
        ):
            yield f"{key}: {pair[0]} and {pair[1]} have no dataset and no suite in common"


def gate_faults(config: dict, root: Path) -> Iterator[str]:
    """Yield the faults of the gates: models, forms of rules, measures that nothing measures."""
    chosen, known = config["gates"]["models"], models(config)
    for name in chosen or ():
        if name not in known:
            yield f"gates.models: {_no_model(name, known, config)}"
    names = [name for name in gated_models(config) if name in known]
    if config["gates"]["rules"] and not gated_models(config):
        yield "gates.rules: no run is measured, so there is nothing to pass them; leave them out"
    bases = [name for name in names if name in config["bases"]]
    # Each suite's task files are read once, however many models it measures.
    suites = dict.fromkeys(suite for name in names for suite in model_suites(config, name))
    told = {suite: [*_suite_metrics(config["suites"][suite], root)] for suite in suites}
    measures = list(dict.fromkeys(m for name in names for m in _measures(config, told, name)))
    for place, text in enumerate(config["gates"]["rules"]):
        key = f"gates.rules[{place}]"
        try:
            rule = fault_rule(text) or parsed(text)
        except ValueError as error:
            yield f"{key}: {error}"
            continue
        if isinstance(rule, FaultRule):
            continue
        if rule.way and bases:
            yield f"{key}: {bases[0]} of gates.models starts from no model, so nothing {rule.way}"
        yield from (f"{key}: {said}" for said in _unmeasured(rule, measures, suites))


def _unmeasured(rule: Rule, measures: Measures, suites: Iterable[str]) -> Iterator[str]:
    """Yield what is wrong with a rule whose measure nothing will measure."""
    if rule.measure == BENCHMARK:
        if not suites:
            yield "no benchmark is run; name suites in the runs"
    elif measures and not any(_is_meant(rule, *measure, suites) for measure in measures):
        yield _no_measure(rule.measure, measures)


def gated_models(config: dict) -> list[str]:
    """Return the models that the gates are for: those named, else every tuned one."""
    named = config["gates"]["models"]
    return tuned_models(config) if named is None else named


def _no_model(name: str, known: list[str], config: dict) -> str:
    run = run_of(config, name)
    if run and not config["runs"][run]["measure"]:
        return f"run '{run}' is not measured; set its measure: true"
    if run and form_of(name) in SCHEMES:
        return f"run '{run}' has no such export; add {form_of(name)} to runs.{run}.quantize"
    if run:
        return (
            f"run '{run}' is measured as '{forms(config, run)[0]}'; name that, or set serve: both"
        )
    return f"there is no model '{name}'{_hint(name, known)}"


def _hint(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; there are: {', '.join(known)}"


def _is_meant(rule: Rule, group: str, metric: str, suites: Iterable[str]) -> bool:
    bare = replace(rule, measure=rule.measure.partition("[")[0])  # lm-eval's filters, if it has any
    if (bare if group in suites else rule).matches(group, metric, suites):
        return True
    wanted_group, _, name = rule.measure.rpartition("/")
    return "*" in metric and wanted_group in ("", group) and fnmatchcase(name, metric)


def _no_measure(measure: str, measures: Measures) -> str:
    """Say that nothing measures what a rule names, with what is nearest or else what there is."""
    plain = [(group, metric.partition("[")[0]) for group, metric in measures]
    named = [metric for _, metric in plain if "*" not in metric]
    full = [f"{group}/{metric}" for group, metric in plain]
    ends = [metric.rpartition(".")[2] for metric in named]
    pool = dict.fromkeys(full if "/" in measure else [*named, *ends])
    close = difflib.get_close_matches(measure, pool, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join([*pool][:8])} ..."
    return f"nothing that is measured is called '{measure}'; {hint}"


def _measures(
    config: dict, suites: Mapping[str, list[str]], model: str
) -> Iterator[tuple[str, str]]:
    """Yield what will be measured of a model, as summary.csv names it.

    ``suites``: the metrics of each suite.
    """
    sets = {name: config["datasets"][name]["metrics"] for name in model_datasets(config, model)}
    if config["generation"]["prompts"] is not None:
        sets["prompts"] = None
    for name, chosen in sets.items():
        for metric in dict.fromkeys((*(METRICS if chosen is None else chosen), *FAULT_SCORES)):
            yield "scores", f"{name}.{metric}"
            if metric == "json_fields":
                yield "scores", f"{name}.json_fields.*"
    for suite in model_suites(config, model):
        yield from ((suite, metric) for metric in suites[suite])
    yield from (("latency", metric) for metric in _latency_metrics(config["latency"]))
    yield from (("loss", f"text.{name}") for name in config["texts"])
    yield from (("loss", f"{side}.*") for side in ("validation", "train", "gap"))
    yield from (("memorisation", f"{name}.*") for name in RECITED)
    if run_of(config, model) in preference_runs(config):
        yield from (("preferences", name) for name in REWARDS)
    yield from _opinions(config, model)


def _opinions(config: dict, model: str) -> Iterator[tuple[str, str]]:
    """Yield what judges and people will say of a model."""
    for judge in config["judges"]:
        for one, other in judged_pairs(config, judge).values():
            if one == model:
                yield "judged", f"{judge}.win_rate[{other}]"
    for sheet in config["people"]:
        if model in sheet_models(config, sheet):
            yield from (("people", f"{sheet}.{criterion}") for criterion in CRITERIA)


def _suite_metrics(suite: dict[str, Any], root: Path) -> Iterator[str]:
    """Yield a suite's metrics; * for those that only lm-eval knows."""
    try:
        own = folder_tasks(root / suite["folder"], suite["tasks"]) if suite["folder"] else {}
    except StageError:  # told with the suite itself
        own = {}
    for task in suite["tasks"]:
        listed = own.get(task, {}).get("metric_list")
        if listed:
            yield from (f"{task}.{entry['metric']}" for entry in listed)
            continue
        yield from (f"{task}.{metric}" for metric in SHIPPED)
        yield f"{task}*.*"  # its tasks, where it is a group of them


def _latency_metrics(grid: dict[str, Any]) -> Iterator[str]:
    cells = itertools.product(grid["prompt_tokens"], grid["output_tokens"], grid["concurrency"])
    names = ("prompt_tokens", "output_tokens", "concurrency")
    grid_places = [cell_name(dict(zip(names, sizes, strict=True))) for sizes in cells]
    rate_places = [rate_name({"rate_per_s": rate}) for rate in grid["rates"]]
    for place in grid_places + rate_places:
        yield from (f"{time}.{quantile}[{place}]" for time in TIMES for quantile in QUANTILES)
        yield f"tokens_per_s[{place}]"
        if limits(grid["slo"]):
            yield from (f"slo_attainment[{place}]", f"goodput_per_s[{place}]")
    for place in rate_places:
        yield from (f"itl_ms.{quantile}[{place}]" for quantile in QUANTILES)
        yield f"requests_per_s[{place}]"
    if rate_places and limits(grid["slo"]):
        yield "goodput.highest_rate_per_s"
    yield from (f"fit.{name}" for name in FITS)
    yield from (f"server.{name}" for name in SERVER)
