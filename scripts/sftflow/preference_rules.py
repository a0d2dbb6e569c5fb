"""What must hold of preference pairs and of runs on them: sentences, [] if all is well."""

from __future__ import annotations

from collections.abc import Iterator

from sftflow.launching import SHARDED
from sftflow.methods import METHODS, MUTATING

#: Cleaning steps that pairs may take; the others judge an answer by itself, or know only one.
STEPS = (
    *("normalize_text", "strip_html", "length", "exact_duplicates", "conflicts"),
    *("placeholders", "language", "personal_data", "secrets", "control_tokens", "format"),
)


def preference_faults(config: dict) -> Iterator[str]:
    """Yield the faults of sources and datasets of pairs, and of the runs with dpo."""
    for name, source in config["sources"].items():
        if source["format"] == "preference" and source["make"] is not None:
            yield f"sources.{name}.format: a made source has rows with one answer; leave it out"
    pairs = {name: holds_pairs(config, name) for name in config["datasets"]}
    for name, dataset in config["datasets"].items():
        if pairs[name]:
            yield from _dataset(config, name, dataset)
    for name, run in config["runs"].items():
        if run["dpo"] is not None:
            known = pairs.get(run["dataset"], True)
            yield from (f"runs.{name}.{fault}" for fault in _run(run, known))


def holds_pairs(config: dict, dataset: str) -> bool:
    """Return whether any source of a dataset is read as preference pairs."""
    sources = config["datasets"][dataset]["sources"]
    known = [config["sources"][name] for name in sources if name in config["sources"]]
    return any(source["format"] == "preference" for source in known)


def _dataset(config: dict, name: str, dataset: dict) -> Iterator[str]:
    others = [
        source
        for source in dataset["sources"]
        if config["sources"].get(source, {}).get("format", "preference") != "preference"
    ]
    if others:
        yield (
            f"datasets.{name}.sources: '{others[0]}' holds no preference pairs, others here do; "
            "make two datasets"
        )
    for number, step in enumerate(dataset["clean"]):
        if step["step"] not in STEPS:
            yield (
                f"datasets.{name}.clean[{number}].step: {step['step']} is not for preference "
                f"pairs; those that are: {', '.join(STEPS)}"
            )
        if step["step"] == "conflicts" and step.get("near") is not None:
            yield f"datasets.{name}.clean[{number}].near: is not for preference pairs; leave it out"


def _run(run: dict, on_pairs: bool) -> Iterator[str]:
    method, dpo = run["method"], run["dpo"]
    if not on_pairs:
        yield (
            f"dpo: dataset '{run['dataset']}' has no preference pairs; give its sources format: "
            "preference, or leave dpo out"
        )
    if method == "adalora" or not METHODS[method].merges:
        ways = [name for name, m in METHODS.items() if m.merges and name != "adalora"]
        yield f"method: dpo works with {', '.join(ways)}, not {method}"
    if METHODS[method].options == "lora" and run["lora"]["init"] in MUTATING:
        yield (
            f"lora.init: {run['lora']['init']} moves a part of the weights into the adapter, and "
            "without it the model is no longer the reference of dpo; use default"
        )
    if (dpo["loss_type"] == "robust") != (dpo["label_smoothing"] > 0):
        yield (
            "dpo.label_smoothing: goes with loss_type robust, and robust needs it; "
            f"loss_type is {dpo['loss_type']}, label_smoothing {dpo['label_smoothing']:g}"
        )
    yield from _stray(run)


def _stray(run: dict) -> Iterator[str]:
    """Yield the faults of settings that stand beside dpo and do nothing there, or harm."""
    training, launch = run["training"], run["launch"]
    if run["reasoning"] == "context":
        yield "reasoning: context is not for dpo; use train or drop"
    if run["train_on"] == "last":
        yield "train_on: dpo always trains the last answer of a pair alone; leave it out"
    for key in ("neftune_noise_alpha", "average_checkpoints", "ewc", "eval_generation"):
        if training[key] is not None:
            yield f"training.{key}: does not work with dpo; leave it out"
    if training["batching"] == "packed":
        yield "training.batching: pairs can't be packed; use grouped"
    if launch["num_processes"] > 1 and launch["strategy"] in SHARDED:
        yield f"launch.strategy: {launch['strategy']} does not work with dpo; use ddp"
