"""What a schema can't say about a config: references, contradictions, files that must exist.

Each function returns sentences, [] if all is well; nothing here raises or changes the config.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import suppress
from keyword import iskeyword
from pathlib import Path
from typing import Any

from sftflow.adapter_rules import adapter_faults
from sftflow.base_rules import base_faults
from sftflow.baseconfigs import base_number, max_positions
from sftflow.cleaningrules import cleaning_faults
from sftflow.gate_rules import comparison_faults, gate_faults
from sftflow.making_rules import making_faults
from sftflow.measuring_rules import measuring_faults
from sftflow.method_rules import method_faults
from sftflow.mix_rules import decontamination_faults, mix_faults
from sftflow.opinion_rules import opinion_faults
from sftflow.plan import ancestry, root_base
from sftflow.preference_rules import preference_faults
from sftflow.promptfile import read_prompts
from sftflow.quantize_rules import quantize_faults
from sftflow.source_rules import source_faults
from sftflow.stage import StageError
from sftflow.suites import missing_files
from sftflow.taskfiles import task_files

# Names that a chat template always has, or that Jinja has for itself.
NO_VARIABLES = ("messages", "tools", "add_generation_prompt", "true", "false", "none")


def _unknown(key: str, name: Any, kind: str, known: Any) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    listed = ", ".join(known) or "none"
    hint = f"; did you mean '{close[0]}'?" if close else f"; there are: {listed}"
    return f"{key}: there is no {kind} '{name}'{hint}"


def dangling_and_contradicting(config: dict, root: Path) -> list[str]:
    """Return all faults of references, combinations and files; ``root``: see project_root."""
    dangling = [*_references(config)]
    faults = list(dangling)
    for check in (_bases, _datasets, source_faults, _suites, _files):
        faults += check(config, root)
    faults += [*mix_faults(config), *making_faults(config, root), *method_faults(config)]
    faults += preference_faults(config)
    if not dangling:
        circles = [*_cycles(config)]  # what follows walks along the references
        faults += circles or [
            *_runs(config, root),
            *base_faults(config, root),
            *adapter_faults(config),
            *quantize_faults(config, root),
            *measuring_faults(config, root),
            *decontamination_faults(config),
            *opinion_faults(config, root),
            *comparison_faults(config),
            *gate_faults(config, root),
        ]
    return faults


def _references(config: dict) -> Iterator[str]:
    models = {**config["bases"], **config["runs"]}
    for name in sorted(set(config["bases"]) & set(config["runs"])):
        yield f"runs.{name}: a base has the same name; both would be results/models/{name}"
    for name, run in config["runs"].items():
        if run["base"] not in models:
            yield _unknown(f"runs.{name}.base", run["base"], "base", models)
        if run["dataset"] not in config["datasets"]:
            yield _unknown(f"runs.{name}.dataset", run["dataset"], "dataset", config["datasets"])
        for suite in run["suites"]:
            if suite not in config["suites"]:
                yield _unknown(f"runs.{name}.suites", suite, "suite", config["suites"])
    yield from _data_references(config)


def _data_references(config: dict) -> Iterator[str]:
    for name, dataset in config["datasets"].items():
        for source in dataset["sources"]:
            if source not in config["sources"]:
                yield _unknown(f"datasets.{name}.sources", source, "source", config["sources"])
    for name, suite in config["suites"].items():
        if suite["dataset"] is not None and suite["dataset"] not in config["datasets"]:
            key = f"suites.{name}.dataset"
            yield _unknown(key, suite["dataset"], "dataset", config["datasets"])


def _cycles(config: dict) -> Iterator[str]:
    told: set[str] = set()
    for name in config["runs"]:
        chain = ancestry(config, name)
        if chain[-1] in chain[:-1] and not told & set(chain):
            told.update(chain)
            yield f"runs.{name}.base: the runs go round in a circle: {' <- '.join(chain)}"


def _bases(config: dict, root: Path) -> Iterator[str]:
    for name, base in config["bases"].items():
        key = f"bases.{name}"
        given = [k for k in ("make", "path", "hub") if base[k] is not None]
        if len(given) != 1:
            what = " and ".join(given) or "nothing"
            yield f"{key}: must have one of make, path and hub; it has {what}"
            continue
        if base["make"] is not None:
            yield from _made(key, base)
        if base["hub"] is None and base["revision"] is not None:
            yield f"{key}.revision: is for a model of the hub; leave it out"
        if base["hub"] is not None and base["revision"] is None:
            yield f"{key}.revision: is missing; pin the commit of {base['hub']} (40 hex digits)"
        if base["trust_remote_code"] and base["make"] is not None:
            yield f"{key}.trust_remote_code: a made base brings no code; leave it out"
        if base["template"].endswith(".jinja") and not (root / base["template"]).is_file():
            yield f"{key}.template: there is no file {root / base['template']}"
        yield from _variables(key, base["chat_template_kwargs"])
        if base["path"] is not None:
            yield from _model_folder(f"{key}.path", root / base["path"])


def _variables(key: str, values: dict) -> Iterator[str]:
    for variable in values:
        if not variable.isidentifier() or variable in NO_VARIABLES or iskeyword(variable):
            yield f"{key}.chat_template_kwargs: '{variable}' can't be a template's variable"


def _made(key: str, base: dict) -> Iterator[str]:
    make = base["make"]
    if base["template"] == "native":
        yield f"{key}.template: a made base has no template of its own; choose chatml"
    if make["hidden_size"] % make["num_attention_heads"]:
        yield f"{key}.make.hidden_size: must be a multiple of num_attention_heads"
    if make["sequence_length"] > make["max_position_embeddings"]:
        yield f"{key}.make.sequence_length: must not be more than max_position_embeddings"
    if make["num_attention_heads"] % make["num_key_value_heads"]:
        yield f"{key}.make.num_attention_heads: must be a multiple of num_key_value_heads"


def _model_folder(key: str, folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        yield f"{key}: there is no folder {folder}"
        return
    if not (folder / "config.json").is_file():
        yield f"{key}: {folder} holds no config.json, so it is no Hugging Face model"
    if not any(folder.glob("*.safetensors")):
        yield f"{key}: {folder} holds no *.safetensors; convert it (pickles are not loaded)"
    if not (folder / "tokenizer.json").is_file() and not any(folder.glob("tokenizer*")):
        yield f"{key}: {folder} holds no tokenizer"


def _runs(config: dict, root: Path) -> Iterator[str]:
    for name, run in config["runs"].items():
        positions = max_positions(config, root, root_base(config, name))
        if positions is not None and run["max_length"] > positions:
            yield (
                f"runs.{name}.max_length: {run['max_length']} is more than the "
                f"{positions} positions of base '{root_base(config, name)}'"
            )
        ahead = run.get(run["method"], {}).get("num_virtual_tokens", 0)
        if positions is not None and run["max_length"] <= positions < run["max_length"] + ahead:
            yield (
                f"runs.{name}.{run['method']}.num_virtual_tokens: {ahead} before rows of "
                f"max_length {run['max_length']} are more than the {positions} positions of base "
                f"'{root_base(config, name)}'; lower one of them"
            )
        answers = (run["training"]["eval_generation"] or {}).get("max_new_tokens", 0)
        if positions is not None and answers >= positions:
            yield (
                f"runs.{name}.training.eval_generation.max_new_tokens: {answers} leaves no room "
                f"for a prompt in the {positions} positions of base '{root_base(config, name)}'"
            )
        layers = base_number(config, root, root_base(config, name), "num_hidden_layers")
        trained = run["last_n_layers"]["n"] if run["method"] == "last_n_layers" else 0
        if layers is not None and trained > layers:
            yield (
                f"runs.{name}.last_n_layers.n: {trained} is more than the {layers} layers of base "
                f"'{root_base(config, name)}'"
            )


def _datasets(config: dict, root: Path) -> Iterator[str]:
    for name, dataset in config["datasets"].items():
        yield from cleaning_faults(config, name, root)
        if dataset["compare_with"] is not None:
            yield from _earlier(config, root, name)
        split = dataset["split"]
        shares = [v for v in (split["validation"], split["test"]) if v < 1]
        if sum(shares) >= 1:
            yield f"datasets.{name}.split: validation and test leave no row to train on"
        for part in ("validation", "test"):
            if split[part] >= 1 and split[part] % 1:
                yield f"datasets.{name}.split.{part}: a number of rows must be whole"
        if split["stratify"] == "tag" and not _has_tags(config, dataset["sources"]):
            listed = ", ".join(dataset["sources"])
            yield (
                f"datasets.{name}.split.stratify: is tag, but none of its sources ({listed}) has "
                "columns.tags; name the columns of the tags there"
            )


def _has_tags(config: dict, sources: list[str]) -> bool:
    """Return whether rows of these sources can have tags; made ones may take those of others."""
    entries = [config["sources"][name] for name in sources if name in config["sources"]]
    return any(e["make"] is not None or "tags" in (e["columns"] or {}) for e in entries)


def _earlier(config: dict, root: Path, name: str) -> Iterator[str]:
    """Faults of a dataset's compare_with: another dataset, or a portrait.json that was kept."""
    key, named = f"datasets.{name}.compare_with", config["datasets"][name]["compare_with"]
    if named in config["datasets"]:
        chain = [name]
        while named in config["datasets"] and named not in chain:
            chain.append(named)
            named = config["datasets"][named]["compare_with"]
        if named == name:
            circle = " <- ".join([*chain, name])
            yield f"{key}: the datasets are compared in a circle: {circle}"
        return
    path = root / named
    path = path / "portrait.json" if path.is_dir() else path
    if Path(named).parts[0] == "results":
        yield f"{key}: {named} is made anew by each run; keep a copy elsewhere and name that"
    elif not path.is_file():
        listed = ", ".join(other for other in config["datasets"] if other != name) or "none"
        yield f"{key}: there is no file {path}, and no such other dataset (there are: {listed})"


def _suites(config: dict, root: Path) -> Iterator[str]:
    for name, suite in config["suites"].items():
        if suite["folder"] is None:
            continue
        folder = root / suite["folder"]
        if not folder.is_dir():
            yield f"suites.{name}.folder: there is no folder {folder}"
            continue
        known, faults = task_files(folder)
        yield from (f"suites.{name}.folder: {fault}" for fault in faults)
        for task in suite["tasks"]:
            if task not in known:
                yield _unknown(f"suites.{name}.tasks", task, f"task in {folder}", known)
        own = [task for task in suite["tasks"] if task in known]
        with suppress(StageError):  # told when the suite is planned
            missing = missing_files(folder, own, suite["num_fewshot"])
            yield from (f"suites.{name}.tasks: {fault}" for fault in missing)


def _files(config: dict, root: Path) -> Iterator[str]:
    for name, path in config["texts"].items():
        if not (root / path).is_file():
            yield f"texts.{name}: there is no file {root / path}"
    prompts = config["generation"]["prompts"]
    if prompts is not None and not (root / prompts).is_file():
        yield f"generation.prompts: there is no file {root / prompts}"
    elif prompts is not None:
        try:
            if not list(read_prompts(root / prompts)):
                yield f"generation.prompts: {root / prompts} has no prompts"
        except ValueError as error:
            yield f"generation.prompts: {error}"
