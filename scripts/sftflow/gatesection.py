"""May it ship: what the page says of the gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.defects import Defect
from sftflow.faultrules import fault_rule
from sftflow.measured import read_object
from sftflow.stage import StageError

Gates = Mapping[str, Mapping[str, Any]]  # model -> its verdict


def gates_checked(results: Path) -> dict[str, dict[str, Any]]:
    """Return each model's verdict by the gates, {} where none were checked."""
    path = results / "gates.json"
    if not path.exists():
        return {}
    said = read_object(path)
    if "models" not in said:
        raise StageError(f"{path} does not have the shape of check_gates; delete it and rerun")
    return said["models"]


def all_shipping(results: Path, models: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return of every model that is tuned or has gates whether it may ship."""
    gates = gates_checked(results)
    named = [m["name"] for m in models if m["kind"] == "tuned" or m["name"] in gates]
    return {name: shipping(name, gates) for name in named}


def shipping(model: str, gates: Gates) -> dict[str, Any]:
    """Return whether a model may ship, in a sentence, with the rules that it fails first."""
    if model not in gates:
        return {"way": "", "sentence": "No gates are set for it (gates.rules).", "rules": []}
    rules = sorted(gates[model]["rules"], key=lambda rule: rule["verdict"] == "pass")
    failed = sum(rule["verdict"] != "pass" for rule in rules)
    if failed:
        of = f"{failed} of {len(rules)} gates" if len(rules) > 1 else "its gate"
        return {"way": "worse", "sentence": f"It may not ship: it fails {of}.", "rules": rules}
    all_of = f"all {len(rules)} gates" if len(rules) > 1 else "its gate"
    return {"way": "better", "sentence": f"It may ship: it passes {all_of}.", "rules": rules}


def stopped_by(defect: Defect, rules: Sequence[str]) -> tuple[str, str]:
    """Return what the gates of a model make of a fault, in words, and the rule that is meant."""
    of_faults = {text: rule for text in rules if (rule := fault_rule(text)) is not None}
    stops = [text for text, rule in of_faults.items() if defect.name not in rule.allowed]
    if defect.gate in rules or stops:
        return "The gate that stops it", defect.gate if defect.gate in rules else stops[0]
    if of_faults:
        return "Its gates allow this fault", next(iter(of_faults))
    return "A gate that would stop it", defect.gate
