"""Settings that a config writes out and nothing heeds: told when a run is planned, never refused.

They are looked for in what was written, before defaults are filled in: a default does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Written = Mapping[str, Any]


def unheeded(written: Written) -> list[str]:
    """Return a sentence for each such setting of a config without faults."""
    found = [*_unnamed(written), *_measurements(written)]
    for name, run in written["runs"].items():
        found += [f"runs.{name}.{said}" for said in _of_run(run, _datasets(written, run))]
    for name, dataset in written["datasets"].items():
        found += [f"datasets.{name}.{said}" for said in _of_dataset(dataset)]
    for name, source in written["sources"].items():
        make = source.get("make") or {}
        if make.get("rank", "judge") != "judge":
            found += _idle(make, f"sources.{name}.make", JUDGED, f"rank {make['rank']}")
    return found


JUDGED = ("judge_model", "scale", "rubric")


def _idle(group: Written, key: str, names: tuple[str, ...], why: str) -> list[str]:
    """Return a sentence for each of these keys that a group has."""
    return [f"{key}.{name}: has no effect with {why}" for name in names if name in group]


def _datasets(written: Written, run: Written) -> list[Written]:
    """Return the datasets on which a run, or its sweep, is trained."""
    names = run.get("sweep", {}).get("dataset", [run["dataset"]])
    return [written["datasets"][name] for name in names if name in written["datasets"]]


def _of_run(run: Written, datasets: list[Written]) -> Iterator[str]:
    """Yield what a run says in vain; what its sweep varies is left alone."""
    training, swept = run.get("training") or {}, run.get("sweep") or {}

    def has(key: str, fits: Callable[[Any], Any] = lambda _: True) -> bool:
        return key in training and f"training.{key}" not in swept and bool(fits(training[key]))

    if has("max_steps", lambda steps: steps is not None) and has("num_train_epochs"):
        yield "training.num_train_epochs: has no effect beside max_steps"
    if has("lr_scheduler_type", lambda kind: kind == "constant") and has("warmup_ratio", bool):
        yield (
            "training.warmup_ratio: has no effect with lr_scheduler_type constant; "
            "constant_with_warmup heeds it"
        )
    if has("average_checkpoints", bool) and has("load_best_model_at_end", bool):
        yield "training.load_best_model_at_end: has no effect beside average_checkpoints"
    if all((one.get("split") or {}).get("validation") == 0 for one in datasets) and datasets:
        for key in ("eval_steps", "load_best_model_at_end"):
            if has(key, bool):
                yield f"training.{key}: has no effect, for the dataset has no validation rows"
    launch = run.get("launch") or {}
    alone = launch.get("num_processes", 1) == 1 and not any("launch" in key for key in swept)
    if alone and launch.get("strategy", "ddp") != "ddp":
        yield "launch.strategy: has no effect with one process; set num_processes"


def _of_dataset(dataset: Written) -> Iterator[str]:
    decontaminate = dataset.get("decontaminate") or {}
    if decontaminate.get("action") == "off":
        keys = ("ngram", "coverage", "own_coverage")
        yield from _idle(decontaminate, "decontaminate", keys, "action off")
    for source, share in (dataset.get("mix") or {}).items():
        if share.get("times") is not None:
            yield from _idle(share, f"mix.{source}", ("max_times",), "times")
    for number, step in enumerate(dataset.get("clean") or []):
        if step["step"] == "conflicts" and step.get("near") is None:
            yield from _idle(step, f"clean[{number}]", ("ngram",), "equal prompts; set near")


def _measurements(written: Written) -> Iterator[str]:
    latency = written.get("latency") or {}
    slo = latency.get("slo") or {}
    if not latency.get("rates"):
        yield from _idle(latency, "latency", ("requests_per_rate",), "no rates")
    if not any(limit for key, limit in slo.items() if key != "attainment"):
        yield from _idle(slo, "latency.slo", ("attainment",), "no limit")
    shown = (written.get("generation") or {}).get("in_context") or {}
    key = "generation.in_context"
    if not shown.get("examples"):
        yield from _idle(shown, key, ("choose", "pool", "seed"), "no examples")
    elif shown.get("choose", "random") == "random":
        yield from _idle(shown, key, ("pool",), "choose random")
    memorisation = written.get("memorisation") or {}
    if memorisation.get("rows") == 0:
        yield from _idle(memorisation, "memorisation", ("given_tokens", "max_tokens"), "rows 0")
    forms = [run.get("serve") for run in written["runs"].values()]
    swept = any("serve" in (run.get("sweep") or {}) for run in written["runs"].values())
    if not swept and not {"adapter", "both"} & set(forms):
        yield from _idle(
            written.get("serve") or {}, "serve", ("lora",), "no run that has serve: adapter"
        )


def _unnamed(written: Written) -> Iterator[str]:
    """Yield the sources, start models and suites that nothing names: nothing is made of them."""
    texts = set(_strings([written[kind] for kind in ("runs", "datasets", "sources")]))
    texts |= set(_strings(written.get("judges") or {}))
    for kind in ("sources", "bases", "suites"):
        for name in written.get(kind) or {}:
            if name not in texts:
                yield f"{kind}.{name}: is named by nothing, so nothing is made of it"


def _strings(value: Any) -> Iterator[str]:
    """Yield every text that is a value within ``value``."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for below in value.values():
            yield from _strings(below)
    elif isinstance(value, list):
        for below in value:
            yield from _strings(below)
