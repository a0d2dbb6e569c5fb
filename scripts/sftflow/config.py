"""From config files to one checked config with every default filled in.

All faults are found before anything runs and told at once, a sentence each: where (file and
key), what is wrong, what to do.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from sftflow.config_rules import dangling_and_contradicting
from sftflow.config_secrets import environment_faults, secret_faults
from sftflow.configfile import ConfigFault, read_config_files
from sftflow.configschema import fill_defaults, schema
from sftflow.method_rules import settle_methods, stray_options
from sftflow.plan import expand_sweeps
from sftflow.schemafaults import check
from sftflow.search_rules import search_faults
from sftflow.unheeded import unheeded


def project_root(config_path: Path) -> Path:
    """Return the folder that a config's paths are relative to.

    It is the nearest folder above the config that holds a Snakefile, and for a config that
    lies elsewhere the config's own folder.
    """
    folder = Path(config_path).resolve().parent
    for above in (folder, *folder.parents):
        if (above / "Snakefile").is_file():
            return above
    return folder


def _pruned(config: dict) -> dict | None:
    """Return a copy without what the schema refuses, None if too much would be missing.

    So that a misspelt key does not hide a dangling reference: both are told at once.
    """
    config = copy.deepcopy(config)
    for error in Draft202012Validator(schema()).iter_errors(copy.deepcopy(config)):
        path, rule = list(error.absolute_path), error.validator
        place: Any = config
        try:
            for part in path if rule == "additionalProperties" else path[:-1]:
                place = place[part]
        except KeyError:
            continue  # another fault has taken it away
        if rule == "additionalProperties":
            for key in set(place) - set(error.schema.get("properties", {})):
                place.pop(key)
        elif rule != "required" and isinstance(place, dict) and path and path[-1] in place:
            place.pop(path[-1])
    return None if check(config) else config


def _all_faults(config: dict, root: Path) -> list[str]:
    """Return the faults of references, files and combinations; fill and expand ``config``."""
    try:
        if faults := expand_sweeps(config) or check(config):
            return faults
        config |= fill_defaults(config)  # a sweep may name a whole group, such as dpo: {beta: 0.2}
        return [*dangling_and_contradicting(config, root), *search_faults(config, check)]
    except OSError as error:  # a folder that may not be entered, a name that is too long
        return [f"{str(error.filename)[:200]}: can't be looked at: {error.strerror}"]


def _follows(fault: str, told: set[str]) -> bool:
    """Return whether a fault only comes from leaving out what was told already."""
    key, _, said = fault.partition(":")
    below = any(other.startswith(f"{key}.") for other in told)
    where, _, last = key.rpartition(".")  # without its address a model's name means another thing
    renamed = last in ("model", "api_key_env") and f"{where}.base_url" in told
    return key in told or renamed or (below and "must have one of" in said)


def _learning_rates() -> tuple[dict[str, float], dict[str, float]]:
    """Return each method's learning rate where a run names none, and those with dpo."""
    training = schema()["$defs"]["run"]["properties"]["training"]["properties"]
    rate = training["learning_rate"]
    return rate["default_by_method"], rate["default_with_dpo"]


def load_config(paths: list[Path], overrides: dict | None = None) -> dict:
    """Return the checked config with defaults filled in and sweeps expanded.

    ``paths`` are laid over each other, ``overrides`` (from --config) over them. ``root`` in the
    result is the folder that its paths are relative to, ``unheeded`` has a sentence for each
    setting that does nothing. Raises ConfigFault with all faults.
    """
    if exposed := environment_faults(os.environ):
        raise ConfigFault(exposed)
    raw = read_config_files(paths, overrides)
    where, root = ", ".join(map(str, paths)), project_root(paths[-1])
    if secrets := secret_faults(raw):  # before any sentence that shows a value
        raise ConfigFault([f"{where}: {fault}" for fault in secrets])
    faults = check(raw)
    sound = _pruned(raw) if faults else raw
    faults += [] if sound is None else stray_options(sound)
    config = None if sound is None else fill_defaults(sound)
    if config is not None:
        told = {fault.split(":")[0] for fault in faults}
        faults += [f for f in _all_faults(config, root) if not _follows(f, told)]
    if faults or config is None:
        raise ConfigFault([f"{where}: {fault}" for fault in faults])
    settle_methods(config, *_learning_rates())
    config["root"] = str(root)
    config["unheeded"] = unheeded(raw)
    return config
