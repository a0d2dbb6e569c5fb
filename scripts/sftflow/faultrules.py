"""The gate ``no known fault``: that defects.py finds nothing wrong with a model.

no known fault
no known fault but forgot, repeats itself
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sftflow.defects import NAMES, Defect

FORM = re.compile(r"no known faults?(?: but (?P<names>.+))?")


@dataclass(frozen=True)
class FaultRule:
    """A rule that asks for no fault but those named."""

    text: str
    allowed: tuple[str, ...] = ()


def fault_rule(text: str) -> FaultRule | None:
    """Return the rule, None for a text of another form; raise ValueError for an unknown fault."""
    said = " ".join(text.split())
    found = FORM.fullmatch(said)
    if found is None:
        return None
    names = tuple(name.strip() for name in (found["names"] or "").split(",") if name.strip())
    for name in names:
        if name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(NAMES)}"
            raise ValueError(f"there is no known fault '{name}'; {hint}")
    return FaultRule(said, names)


def faults_checked(rule: FaultRule, found: Sequence[Defect]) -> dict[str, Any]:
    """Return the rule's verdict in the shape of gates.checked; ``figure`` is a number of faults."""
    wrong = [defect for defect in found if defect.name not in rule.allowed]
    named = ", ".join(f"{defect.name} ({defect.measures[0][1]})" for defect in wrong)
    known = len(found) - len(wrong)
    none = f"no fault but {known} that the rule allows" if known else "no known fault was found"
    return {
        "rule": rule.text,
        "verdict": "fail" if wrong else "pass",
        "measure": "/".join(wrong[0].measures[0]) if wrong else None,
        "value": None,
        "figure": float(len(wrong)),
        "limit": 0.0,
        "measures": len(wrong),
        "sentence": named or none,
    }
