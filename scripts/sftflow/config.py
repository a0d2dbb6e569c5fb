"""From config files to one checked config with every default filled in.

All faults are found before anything runs and told at once, a sentence each: where (file and
key), what is wrong, what to do.
"""

from __future__ import annotations

import copy
import difflib
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from sftflow.config_rules import dangling_and_contradicting
from sftflow.config_secrets import environment_faults, secret_faults
from sftflow.configfile import ConfigFault, read_config_files, read_yaml
from sftflow.method_rules import OTHER_NAMES, settle_methods, stray_options
from sftflow.plan import expand_sweeps
from sftflow.search_rules import search_faults
from sftflow.unheeded import unheeded

TEMPLATE_PATTERN = r"\.jinja$"  # as in the schema
ENVIRONMENT_NAME = "^[A-Za-z_][A-Za-z0-9_]*$"
MOST_SHOWN = 100  # characters of a value
_KINDS = {
    "object": "keys and values",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


_MEANINGS = {  # patterns of the schema in words
    "^[A-Za-z][A-Za-z0-9_-]*$": "is no tag; write its name without < and >",
    "^https?://": "is no address; it begins with http:// or https://",
    "^[A-Z]{2}$": "is no country; write ISO 3166 codes such as US, DE, CN",
    ENVIRONMENT_NAME: "can't be the name of an environment variable",
    "^[A-Za-z0-9_.+/-]+$": "is no module of a cluster; write its name as `module load` takes it",
}


@cache
def schema() -> dict:
    """Return config/schema.yaml of this repository."""
    return read_yaml(Path(__file__).parents[2] / "config" / "schema.yaml")


def _resolved(node: dict) -> dict:
    """Follow $ref, keeping what stands beside it (a default)."""
    while "$ref" in node:
        target: Any = schema()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
    return node


def fill_defaults(value: Any, node: dict | None = None) -> Any:
    """Return a copy of ``value`` in which every key that the schema gives a default stands."""
    node = _resolved(schema() if node is None else node)
    if isinstance(value, list):
        return [fill_defaults(item, node["items"]) if "items" in node else item for item in value]
    if not isinstance(value, dict):
        for option in node.get("anyOf", []):
            if isinstance(value, dict):
                return fill_defaults(value, option)
        return int(value) if _whole(value, node) else copy.deepcopy(value)
    if "anyOf" in node:
        node = next(o for o in map(_resolved, node["anyOf"]) if o.get("type") == "object")
    if "allOf" in node:  # cleaning steps and ways of making data: options by their name
        kind, name = ("steps", "step") if "step" in value else ("makes", "method")
        node = {**node, "properties": schema()["$defs"][kind][value[name]]["properties"]}
    known = node.get("properties", {})
    other = node.get("additionalProperties")
    filled = {}
    for key, item in value.items():
        below = known.get(key, other)
        filled[key] = fill_defaults(item, below) if isinstance(below, dict) else item
    for key, below in known.items():
        below = _resolved(below)
        if key not in filled and "default" in below:
            filled[key] = fill_defaults(copy.deepcopy(below["default"]), below)
    return filled


def _whole(value: Any, node: dict) -> bool:
    """Tell a whole number that is written as 1e3 or 8.0: the schema takes it, range() does not."""
    kinds = node.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else kinds
    whole = "integer" in kinds and "number" not in kinds
    return whole and isinstance(value, float) and value.is_integer()


def _key(path: list) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the config"


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(known))}"


def _numeric(text: Any) -> bool:
    try:
        return isinstance(text, str) and math.isfinite(float(text))
    except ValueError:
        return False


_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_SIZES = {
    "minItems": "at least",
    "minLength": "at least",
    "maxItems": "at most",
    "maxLength": "at most",
}


def _sentences(error: ValidationError) -> list[str]:
    """Return what one schema error means to a person, a sentence per fault."""
    key, got, wanted = _key(list(error.absolute_path)), error.instance, error.validator_value
    rule = error.validator
    if rule == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        prefix = "" if key == "the config" else f"{key}."
        return [f"{prefix}{k}: unknown key{_nearest(k, known)}" for k in got if k not in known]
    if rule == "required":
        return [f"{key}: '{k}' is missing" for k in wanted if k not in got]
    if rule == "anyOf":
        return _of_alternatives(error, key)
    return [f"{key}: {_claim(str(rule), got, wanted) or error.message}"]


def _claim(rule: str, got: Any, wanted: Any) -> str | None:
    """Return what is wrong with one value, None for a rule that has no words here."""
    if rule == "type":
        return _wrong_type(got, [wanted] if isinstance(wanted, str) else wanted)
    if rule == "enum":
        hint = OTHER_NAMES.get(str(got)) or _nearest(got, [str(w) for w in wanted])
        return f"{_shown(got)} is not known{hint}"
    if rule in _BOUNDS:
        return f"{_shown(got)} is out of range, must be {_BOUNDS[rule]} {wanted}"
    if rule in ("minItems", "minProperties", "minLength") and not got:
        return "is empty; name at least one"
    if rule in _SIZES:
        unit = "characters" if isinstance(got, str) else "entries"
        return f"has {len(got)} {unit}, must have {_SIZES[rule]} {wanted}"
    if rule == "uniqueItems":
        return f"names the same thing twice: {got}"
    if rule == "pattern":
        shown = "what stands there" if wanted == ENVIRONMENT_NAME else _shown(got)  # maybe a key
        return f"{shown} {_pattern_meaning(str(wanted))}"
    return None


def _wrong_type(got: Any, kinds: list[str]) -> str:
    named = " or ".join(_KINDS[k] for k in kinds)
    if _numeric(got) and {"number", "integer"} & set(kinds):
        return f"'{got}' is text, not {named}; write it without quotes, as {float(got)}"
    if isinstance(got, str) and got.lower() in ("yes", "no", "on", "off"):
        return f"'{got}' is text; write true or false"
    return f"must be {named}, not {_shown(got)}"


def _pattern_meaning(pattern: str) -> str:
    if pattern == schema()["$defs"]["name"]["pattern"]:
        return (
            "can't be a name; a name is up to 64 of a-z 0-9 . _ - and begins with a letter or digit"
        )
    if pattern.startswith("^[0-9a-f]"):
        return "is not a commit; pin the full 40 hex digits"
    if pattern in _MEANINGS:
        return _MEANINGS[pattern]
    if pattern == TEMPLATE_PATTERN:
        return "is not a template; use native, chatml, alpaca, llama2, llama3 or a .jinja file"
    return "is not an id of the form owner/name"


def _of_alternatives(error: ValidationError, key: str) -> list[str]:
    """Tell the fault of the alternative that the value was most likely meant to be."""
    kind = "object" if isinstance(error.instance, dict) else None
    if isinstance(error.instance, dict | list):
        for index, option in enumerate(error.validator_value):
            option_type = _resolved(option).get("type")
            if option_type == (kind or "array"):
                inner = [e for e in error.context or [] if e.schema_path[0] == index]
                return [s for e in inner for s in _sentences(e)]
    if any("pattern" in o for o in error.validator_value):
        return [f"{key}: {_shown(error.instance)} {_pattern_meaning(TEMPLATE_PATTERN)}"]
    kinds = [_resolved(o) for o in error.validator_value]
    named = " or ".join(str(k["const"]) if "const" in k else _KINDS[k["type"]] for k in kinds if k)
    return [f"{key}: must be {named}, not {_shown(error.instance)}"]


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= MOST_SHOWN else f"'{value[:MOST_SHOWN]}...'"
    if isinstance(value, dict | list):
        return _KINDS["object" if isinstance(value, dict) else "array"]
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)[:MOST_SHOWN]


def _name_faults(config: dict) -> list[str]:
    """Faults of the names themselves; the schema's own message would not say which key."""
    faults = []
    named = Draft202012Validator(schema()["$defs"]["name"])
    pattern = schema()["$defs"]["name"]["pattern"]
    for kind in ("sources", "datasets", "bases", "runs", "suites", "texts", "judges", "people"):
        entries = config.get(kind)
        for name in entries if isinstance(entries, dict) else []:
            if not named.is_valid(name):
                faults.append(f"{kind}: {_shown(name)} {_pattern_meaning(pattern)}")
    return faults


def check(config: dict) -> list[str]:
    """Return every fault of a config against the schema, as sentences; [] if there is none."""
    faults = _name_faults(config)
    for error in Draft202012Validator(schema()).iter_errors(config):
        if "propertyNames" in error.schema_path:
            continue
        faults += _sentences(error)
    return list(dict.fromkeys(faults))


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
