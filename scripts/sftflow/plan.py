"""What follows from a config: which runs a sweep means, who starts from whom, what measures what.

Pure functions of the checked config; the rules ask here and decide nothing themselves.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from typing import Any

from sftflow.manifests import sha256_json
from sftflow.optimizers import DEFAULT as ADAMW

# What is measured of a run beside its merged model is called {run}+{form}: adapter, or a scheme of
# quantisation. No name in a config has a plus.
PLUS = "+"
ADAPTER = f"{PLUS}adapter"
MOST_SWEPT = 1000  # runs of one sweep; planning looks at each in every process (docs/limits.md)


def _value_in_name(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return re.sub(r"[^a-z0-9.-]+", "_", text.lower()).strip("_-.") or "x"


def _name_part(key: str, value: Any) -> str:
    return f".{key.split('.')[-1]}-{_value_in_name(value)}"


def expand_sweeps(config: dict) -> list[str]:
    """Replace each run with a sweep by its named combinations; return sentences about faults.

    ``grid`` with {lora.r: [8, 32]} becomes grid.r-8, whose sweep is {lora.r: [8]}, and grid.r-32.
    """
    faults: list[str] = []
    runs: dict[str, dict] = {}
    for name, run in config["runs"].items():
        sweep = run["sweep"]
        count = math.prod(map(len, sweep.values()))
        if count > MOST_SWEPT:
            said = f"makes {count:,} runs, {MOST_SWEPT:,} at most; take fewer values, or a search"
            faults.append(f"runs.{name}.sweep: {said}")
            continue
        for combination in itertools.product(*sweep.values()):
            swept = {key: [value] for key, value in zip(sweep, combination, strict=True)}
            one = {**copy.deepcopy(run), "sweep": swept}
            one_name = name
            for key, value in zip(sweep, combination, strict=True):
                *path, last = key.split(".")
                place: Any = one
                for part in path:
                    place = place.get(part) if isinstance(place, dict) else None
                if not isinstance(place, dict) or last not in place or last == "sweep":
                    faults.append(f"runs.{name}.sweep: '{key}' is no key of a run")
                    break
                place[last] = value
                one_name += _name_part(key, value)
            if one_name in runs or (one_name != name and one_name in config["runs"]):
                faults.append(f"runs.{name}.sweep: two runs would be named '{one_name}'")
            runs[one_name] = one
    config["runs"] = runs
    return list(dict.fromkeys(faults))


def sweeps(config: dict) -> dict[str, list[str]]:
    """Return name of a run as it was written -> the runs of its sweep."""
    found: dict[str, list[str]] = {}
    for name, run in config["runs"].items():
        if run["sweep"]:
            ending = "".join(_name_part(key, value) for key, (value,) in run["sweep"].items())
            found.setdefault(name.removesuffix(ending), []).append(name)
    return found


def ancestry(config: dict, model: str) -> list[str]:
    """Return a model, its start model, that one's start model ...; stops where it repeats."""
    chain = [model]
    while run := run_of(config, chain[-1]):
        chain.append(config["runs"][run]["base"])
        if chain[-1] in chain[:-1]:
            break
    return chain


def root_base(config: dict, model: str) -> str:
    """Return the base that a model goes back to (itself, if it is one)."""
    return ancestry(config, model)[-1]


def run_of(config: dict, model: str) -> str | None:
    """Return the run that made a model, None for a base."""
    run = model.partition(PLUS)[0]
    return run if run in config["runs"] else None


def form_of(model: str) -> str | None:
    """Return the form of a run's model: adapter or a scheme; None for a merged one or a base."""
    return model.partition(PLUS)[2] or None


def is_adapter(model: str) -> bool:
    """Return whether a model is its start model with an adapter, unmerged."""
    return model.endswith(ADAPTER)


def forms(config: dict, run: str) -> list[str]:
    """Return the models that are measured of a run: merged, as an adapter, and quantised."""
    served = config["runs"][run]["serve"]
    merged = [run] if served != "adapter" else []
    adapter = [run + ADAPTER] if served != "merged" else []
    return [*merged, *adapter, *quantized(config, run)]


def quantized(config: dict, run: str) -> list[str]:
    """Return the models that are quantised exports of a run's merged model."""
    return [f"{run}{PLUS}{scheme}" for scheme in config["runs"][run]["quantize"]]


def quantized_models(config: dict) -> list[str]:
    """Return the quantised exports of every run."""
    return _union(quantized(config, run) for run in measured_runs(config))


def models(config: dict) -> list[str]:
    """Return every model that is measured: those of the runs and those that they start from."""
    used = {start for run in measured_runs(config) for start in ancestry(config, run)[1:]}
    used.update(tuned_models(config))
    of_runs = _union([run, *forms(config, run)] for run in config["runs"])
    return [name for name in (*config["bases"], *of_runs) if name in used]


def tuned_models(config: dict) -> list[str]:
    """Return the measured models that runs have made."""
    return [form for run in measured_runs(config) for form in forms(config, run)]


def start_of(config: dict, model: str) -> str | None:
    """Return the model that a model was trained from, None for a base."""
    run = run_of(config, model)
    return None if run is None else config["runs"][run]["base"]


def model_folder(config: dict, model: str) -> str:
    """Return the folder of the weights and the tokenizer that a model is served with."""
    return f"results/models/{start_of(config, model) if is_adapter(model) else model}"


def adapters_on(config: dict, start: str) -> list[str]:
    """Return the measured adapters that one server serves: those on the same start model."""
    mine = (model for model in tuned_models(config) if is_adapter(model))
    return [model for model in mine if start_of(config, model) == start]


def adapter_starts(config: dict) -> list[str]:
    """Return the start models that are served with adapters."""
    return _union([start_of(config, m)] for m in tuned_models(config) if is_adapter(m))


def measured_runs(config: dict) -> list[str]:
    """Return the runs whose models are measured; others are only trained."""
    return [name for name, run in config["runs"].items() if run["measure"]]


def comparisons(config: dict) -> list[tuple[str, str]]:
    """Return each model to compare and the one it is held against.

    That is its start model, for another form also the merged one, and whatever the config names.
    """
    own = [(model, start_of(config, model)) for model in tuned_models(config)]
    both = [(model, run_of(config, model)) for model in tuned_models(config) if form_of(model)]
    merged = [(model, run) for model, run in both if run in forms(config, run)]
    named = [(model, against) for model, against in config["comparisons"]]
    return list(dict.fromkeys([*own, *merged, *named]))


def preference_runs(config: dict) -> list[str]:
    """Return the runs that are trained on preference pairs."""
    return [name for name, run in config["runs"].items() if run.get("dpo") is not None]


def merged_runs(config: dict) -> list[str]:
    """Return the runs of which a model is made: to be measured, or for a run to start from."""
    starts = {run["base"] for run in config["runs"].values()}
    return [
        name
        for name, run in config["runs"].items()
        if (run["measure"] and name in forms(config, name)) or name in starts
    ]


def descendants(config: dict, model: str) -> list[str]:
    """Return the measured runs that go back to ``model``, its own included.

    None starts from an adapter or a quantised model: what a run starts from is merged.
    """
    if form_of(model):
        return [run] if (run := run_of(config, model)) else []
    return [run for run in measured_runs(config) if model in ancestry(config, run)]


def _union(lists: Any) -> list:
    return list(dict.fromkeys(itertools.chain.from_iterable(lists)))


def model_suites(config: dict, model: str) -> list[str]:
    """Return the suites of a model: its run's, and those of every run that starts from it."""
    return _union(config["runs"][run]["suites"] for run in descendants(config, model))


def model_datasets(config: dict, model: str) -> list[str]:
    """Return the datasets whose test rows a model answers, chosen as in model_suites."""
    return _union([config["runs"][run]["dataset"]] for run in descendants(config, model))


def in_context_models(config: dict) -> dict[str, tuple[str, int]]:
    """Return name -> (base, examples) of what a base is with examples in its prompt."""
    counts = config["generation"]["in_context"]["examples"]
    bases = [model for model in models(config) if model in config["bases"]]
    return {f"{base}+icl{count}": (base, count) for base in bases for count in counts}


def judged_pairs(config: dict, judge: str) -> dict[str, tuple[str, str]]:
    """Return name -> (model, the one it is compared with) of the pairs of a judge."""
    pairs = config["judges"][judge]["pairs"]
    if pairs is None:
        runs = measured_runs(config)
        pairs = [(forms(config, run)[0], config["runs"][run]["base"]) for run in runs]
    return {f"{one}.vs.{other}": (one, other) for one, other in pairs}


def all_pairs(config: dict) -> list[str]:
    """Return the names of the pairs of every judge, each once."""
    return _union(judged_pairs(config, judge) for judge in config["judges"])


def sheet_models(config: dict, sheet: str) -> list[str]:
    """Return the models whose answers are on a scoring sheet."""
    seconds = {form for run in measured_runs(config) for form in forms(config, run)[1:]}
    named = config["people"][sheet]["models"]
    return named or [model for model in models(config) if model not in seconds]


def dataset_suites(config: dict, dataset: str) -> list[str]:
    """Return the suites whose questions must not be in a dataset: those of all it goes into."""
    runs = [name for name, run in config["runs"].items() if run["dataset"] == dataset]
    return _union(model_suites(config, run) for run in runs)


def checks_questions(config: dict, dataset: str) -> bool:
    """Return whether a dataset is compared with benchmark questions."""
    action = config["datasets"][dataset]["decontaminate"]["action"]
    return action != "off" and bool(dataset_suites(config, dataset))


def embedding_steps(config: dict, dataset: str) -> list[dict]:
    """Return the cleaning steps of a dataset that use an embedding model."""
    steps = config["datasets"][dataset]["clean"]
    return [step for step in steps if step["step"] == "semantic_duplicates"]


def drops_questions(config: dict, dataset: str) -> bool:
    """Return whether rows with benchmark questions are left out of a dataset."""
    return config["datasets"][dataset]["decontaminate"]["action"] == "drop"


def keeps_questions(config: dict, dataset: str) -> bool:
    """Return whether rows with benchmark questions are looked for in a dataset, and stay."""
    return checks_questions(config, dataset) and not drops_questions(config, dataset)


def training_folder(config: dict, dataset: str) -> str:
    """Return the folder of the rows that trainings read: the split's, or what was made of it."""
    mixed = config["datasets"][dataset]["mix"] or drops_questions(config, dataset)
    return f"results/datasets/{dataset}/mixed" if mixed else f"results/datasets/{dataset}"


def model_keys(config: dict, model: str) -> list[str]:
    """Return the templated data on whose validation rows a model's loss is measured."""
    return _union([templated_key(config, run)] for run in descendants(config, model))


def shaping_settings(training: dict) -> dict:
    """Return what shapes a training: no tracker does, and what is off is left out."""
    off = {"eval_generation": None, "metric_for_best_model": "loss", "optim": ADAMW}
    return {
        key: value
        for key, value in training.items()
        if key != "report_to" and (key not in off or value != off[key])
    }


def templated_spec(config: dict, run: str) -> dict:
    """Return all that decides the tokens of a run's data."""
    entry = config["runs"][run]
    asked = {"reasoning": entry["reasoning"]} if entry["reasoning"] != "train" else {}
    pairs = entry.get("dpo") is not None
    return {
        "dataset": entry["dataset"],
        "base": root_base(config, run),
        "max_length": entry["max_length"],
        "overlong": entry["overlong"],
        **({"pairs": True} if pairs else {"train_on": entry["train_on"]}),
        **asked,  # only what a run asks for, so that others keep their tokens
    }


def templated_key(config: dict, run: str) -> str:
    """Return the name of the folder of a run's tokens; runs that need the same share it."""
    spec = templated_spec(config, run)
    return f"{spec['dataset']}.{spec['base']}.{sha256_json(spec)[:8]}"


def templated_specs(config: dict) -> dict[str, dict]:
    """Return key -> spec of every templated dataset that some run needs."""
    return {templated_key(config, run): templated_spec(config, run) for run in config["runs"]}
