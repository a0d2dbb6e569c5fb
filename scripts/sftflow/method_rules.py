"""What must hold of a run's method and its options, beyond what a schema can say."""

from __future__ import annotations

from collections.abc import Iterator

from sftflow.launching import SHARDED
from sftflow.methods import METHODS, MUTATING, OPTIONS
from sftflow.optimizers import OPTIMIZERS

# What people call a method that is an option of another one here, or a scheme of runs.*.quantize.
OTHER_NAMES = {
    "rslora": "; rsLoRA is lora with lora.use_rslora: true",
    "dora": "; DoRA is lora with lora.use_dora: true",
    "lora_plus": "; LoRA+ is lora with lora.lr_ratio: 16",
    "pissa": "; PiSSA is lora with lora.init: pissa",
    "olora": "; OLoRA is lora with lora.init: olora",
    "int8": "; int8 weights and activations are w8a8",
    "int4": "; int4 weights are w4a16",
    "fp8": "; FP8 with scales per token is fp8_dynamic",
    "gptq": "; GPTQ and AWQ are not offered, w4a16 rounds to nearest",
    "awq": "; GPTQ and AWQ are not offered, w4a16 rounds to nearest",
    "adamw": "; AdamW is adamw_torch_fused",
    "adamw_hf": "; AdamW is adamw_torch_fused",
    "adamw_bnb_8bit": "; AdamW with moments of 8 bits is adamw_8bit",
    "paged_adamw": "; AdamW with paged moments is paged_adamw_32bit",
    "lion": "; Lion is lion_32bit",
    "paged_lion": "; Lion with paged moments is paged_lion_32bit",
}


def _methods(run: dict) -> list[str]:
    """Return the methods that a run as written stands for: more than one only in a sweep."""
    swept = (run.get("sweep") or {}).get("method")
    return [m for m in swept or [run.get("method", "lora")] if m in METHODS]


def _of(options: str) -> str:
    return " and ".join(name for name, method in METHODS.items() if method.options == options)


def stray_options(config: dict) -> list[str]:
    """Return the faults of options that no method of their run has; before defaults are filled."""
    faults = []
    for name, run in (config.get("runs") or {}).items():
        methods = _methods(run)
        used = [METHODS[m].options for m in methods]
        for options in OPTIONS:
            said = f"is for method {_of(options)}, not {', '.join(methods)}"
            if methods and options in run and options not in used:
                faults.append(f"runs.{name}.{options}: {said}; leave it out")
            for key in run.get("sweep") or {}:
                if key.split(".")[0] == options and any(u != options for u in used):
                    faults.append(f"runs.{name}.sweep: {key} {said}; make it a run of its own")
    return faults


def settle_methods(config: dict, rates: dict[str, float], with_dpo: dict[str, float]) -> None:
    """Leave each run the options of its method only, and give it the method's learning rate.

    ``with_dpo`` has those of runs on preference pairs.
    """
    for run in config["runs"].values():
        for options in OPTIONS:
            if options != METHODS[run["method"]].options:
                run.pop(options, None)
        if run["training"]["learning_rate"] is None:
            known = rates if run["dpo"] is None else with_dpo
            run["training"]["learning_rate"] = known[run["method"]]


def method_faults(config: dict) -> list[str]:
    """Return the faults of methods, their options, and what they are combined with."""
    faults = []
    for name, run in config["runs"].items():
        faults += [f"runs.{name}.{fault}" for fault in _run_faults(config, run)]
    return faults


def _run_faults(config: dict, run: dict) -> Iterator[str]:
    method, start = run["method"], config["runs"].get(run["base"])
    if start is not None and not METHODS[start["method"]].merges:
        yield (
            f"base: '{run['base']}' is trained by {start['method']}, which leaves no model to "
            "start from; name a base or another run"
        )
    elif start is not None and run["measure"] and not start["measure"]:
        yield (
            f"base: this run is compared with '{run['base']}', where it starts, and nothing is "
            f"measured of that one; leave runs.{run['base']}.measure out"
        )
    if run["measure"] and not METHODS[method].merges:
        yield (
            f"method: what {method} trains can't be merged into plain weights, and the server "
            "(vLLM) takes no such adapter; set measure: false to train it only, or use lora"
        )
    if not run["measure"] and run["suites"]:
        yield "suites: nothing is measured of this run (measure: false); leave one of them out"
    yield from _option_faults(run)
    yield from _training_faults(config, run)


def _option_faults(run: dict) -> Iterator[str]:
    method, lora, adalora = run["method"], run["lora"], run["adalora"]
    if METHODS[method].options == "lora" and lora["init"] in MUTATING:
        if method == "qlora":
            yield f"lora.init: {lora['init']} needs weights of 16 bits or more; use method lora"
        if lora["use_dora"]:
            yield f"lora.init: {lora['init']} stands beside use_dora; leave one of them out"
    if method == "adalora" and adalora["init_r"] <= adalora["target_r"]:
        yield (
            f"adalora.init_r: {adalora['init_r']} must be more than the {adalora['target_r']} of "
            "target_r, or there is nothing to take away"
        )
    if method == "adalora" and adalora["warmup_share"] + adalora["final_share"] >= 1:
        yield "adalora: warmup_share and final_share leave no step to take ranks away in"
    targets, forward = (run["ia3"][f"{part}_modules"] for part in ("target", "feedforward"))
    if targets is None and forward is not None:
        yield "ia3.feedforward_modules: needs target_modules beside it"
    for module in sorted(set(forward or []) - set(targets or forward or [])):
        yield f"ia3.feedforward_modules: '{module}' is not among the target_modules; add it there"
    options = METHODS[method].options or ""
    targets = run.get(options, {}).get("target_modules")
    if isinstance(targets, list) and "all-linear" in targets:
        yield f"{options}.target_modules: write all-linear without a list"


def _training_faults(config: dict, run: dict) -> Iterator[str]:
    method, training = run["method"], run["training"]
    if method == "prefix" and training["gradient_checkpointing"]:
        yield "training.gradient_checkpointing: does not work with prefix; use prompt or set false"
    if training["layerwise_lr_decay"] is not None:
        if not METHODS[method].in_layers:
            yield f"training.layerwise_lr_decay: {method} trains nothing in the layers"
        if METHODS[method].options == "lora" and run["lora"]["lr_ratio"] is not None:
            yield "training.layerwise_lr_decay: stands beside lora.lr_ratio; leave one of them out"
    patience, dataset = training["early_stopping_patience"], config["datasets"].get(run["dataset"])
    if patience is not None and dataset is not None and not dataset["split"]["validation"]:
        yield (
            "training.early_stopping_patience: dataset "
            f"'{run['dataset']}' has no validation rows; set its split.validation"
        )
    average = training["average_checkpoints"]
    if average is not None and patience is not None:
        yield (
            "training.average_checkpoints: stands beside early_stopping_patience, with which the "
            "last steps are not known before; leave one of them out"
        )
    if training["batching"] == "packed" and not METHODS[method].in_layers:
        yield (
            f"training.batching: with {method} vectors stand before each row, and packed rows "
            "have one beginning; use grouped"
        )
    yield from _ewc_faults(config, run)
    yield from _answer_faults(config, run)
    processes, nodes = run["launch"]["num_processes"], run["launch"]["num_nodes"]
    if processes % nodes:
        yield (
            f"launch.num_processes: {processes} can't be shared evenly by {nodes} nodes; make it "
            "a multiple of num_nodes"
        )
    yield from _sharded_faults(run)


def _ewc_faults(config: dict, run: dict) -> Iterator[str]:
    """EWC needs gradients of the weights that move, and to know how far they have moved."""
    method, ewc = run["method"], run["training"]["ewc"]
    if ewc is None:
        return
    if ewc["text"] not in config["texts"]:
        known = ", ".join(config["texts"]) or "none"
        yield f"training.ewc.text: there is no text '{ewc['text']}' under texts; there are: {known}"
    if method == "qlora":
        yield "training.ewc: needs weights of 16 bits or more; use method lora"
    elif method != "lora" and not METHODS[method].plain:
        ways = ", ".join(name for name, m in METHODS.items() if m.plain)
        yield f"training.ewc: is for lora, {ways}, not {method}; leave it out"
    if method == "lora" and run["lora"]["use_dora"]:
        yield "training.ewc: stands beside lora.use_dora; leave one of them out"
    if method == "lora" and run["lora"]["init"] in MUTATING:
        yield f"training.ewc: stands beside lora.init {run['lora']['init']}; leave one of them out"


def _answer_faults(config: dict, run: dict) -> Iterator[str]:
    """Answers at evaluations need rows or prompts to answer, and a metric needs rows to score."""
    asked, dataset = run["training"]["eval_generation"], config["datasets"].get(run["dataset"])
    metric = run["training"]["metric_for_best_model"]
    if metric != "loss" and not (asked and asked["rows"]):
        yield (
            f"training.metric_for_best_model: {metric} is a score of answers; set "
            "training.eval_generation with rows, or choose by loss"
        )
    if asked is None:
        return
    if dataset is not None and not dataset["split"]["validation"]:
        yield (
            f"training.eval_generation: dataset '{run['dataset']}' has no validation rows, so "
            "nothing is evaluated; set its split.validation"
        )
    if not asked["rows"] and not (asked["prompts"] and config["generation"]["prompts"]):
        yield (
            "training.eval_generation: asks for nothing; set rows, or prompts together with "
            "generation.prompts"
        )


def _sharded_faults(run: dict) -> Iterator[str]:
    method, training, strategy = run["method"], run["training"], run["launch"]["strategy"]
    if run["launch"]["num_processes"] > 1 and strategy in SHARDED:
        moved = METHODS[method].options == "lora" and run["lora"]["init"] in MUTATING
        if METHODS[method].own_state or moved or method == "qlora":
            what = f"lora.init {run['lora']['init']}" if moved else f"method {method}"
            yield f"launch.strategy: {strategy} does not work with {what}; use ddp"
        if not OPTIMIZERS[training["optim"]].sharded:
            known = " and ".join(name for name, kind in OPTIMIZERS.items() if kind.sharded)
            yield (
                f"training.optim: launch.strategy {strategy} works with {known}, not "
                f"{training['optim']}; use one of them, or ddp"
            )
        for key in ("layerwise_lr_decay", "average_checkpoints", "ewc", "eval_generation"):
            if training[key] is not None:
                yield f"launch.strategy: {strategy} does not work with training.{key}; use ddp"
