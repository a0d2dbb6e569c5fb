"""What the schema refuses of a config, in sentences that a person can act on."""

from __future__ import annotations

import difflib
import math
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from sftflow.configschema import resolved, schema
from sftflow.method_rules import OTHER_NAMES

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
            option_type = resolved(option).get("type")
            if option_type == (kind or "array"):
                inner = [e for e in error.context or [] if e.schema_path[0] == index]
                return [s for e in inner for s in _sentences(e)]
    if any("pattern" in o for o in error.validator_value):
        return [f"{key}: {_shown(error.instance)} {_pattern_meaning(TEMPLATE_PATTERN)}"]
    kinds = [resolved(o) for o in error.validator_value]
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
