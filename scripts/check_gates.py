"""Say of each model whether it passes the rules that the config sets for it.

reads   summary.csv; results/eval/{model}/against/{base}.json, whose standard errors are paired
writes  gates.json: {rules: [text], models: {name: {verdict: pass|fail, rules: [{rule, verdict:
        pass|fail|not measured, measure, value, figure, limit, measures, sentence}]}}}
spec    rules: [text], models: [{name, base}], suites: [names]

What was not measured is not passed. No model fails here: that is the rule ``gate``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sftflow.gates import Known, checked, parsed
from sftflow.manifests import write_json
from sftflow.measured import read_object
from sftflow.stage import console, run_stage, stage_parser
from sftflow.summary import Measurement, read_summary


def paired_errors(path: Path) -> dict[tuple[str, str], float | None]:
    """Return the standard errors of the paired differences, {} if the file is not there."""
    if not path.exists():
        return {}
    return {(m["group"], m["metric"]): m["stderr"] for m in read_object(path)["measures"]}


def main(argv: list[str] | None = None) -> None:
    """Read what was measured, hold it against the rules, write and say the verdicts."""
    args = stage_parser(__doc__, "results", "gates").parse_args(argv)
    spec, measured = args.spec, {}
    for row in read_summary(args.results / "summary.csv"):
        measured.setdefault(row.model, {})[row.group, row.metric] = row
    rules = [parsed(text) for text in spec["rules"]]
    verdicts: dict[str, Any] = {}
    for model in spec["models"]:
        name, base = model["name"], model["base"]
        mine: dict[tuple[str, str], Measurement] = measured.get(name, {})
        errors = paired_errors(args.results / "eval" / name / "against" / f"{base}.json")
        known = Known(mine, measured.get(base, {}), errors, spec["suites"])
        said = [checked(rule, known) for rule in rules]
        failed = [one for one in said if one["verdict"] != "pass"]
        verdicts[name] = {"verdict": "fail" if failed else "pass", "rules": said}
        console().say(f"{name}: {len(said) - len(failed)} of {len(said)} gates passed")
    write_json(args.gates, {"rules": [rule.text for rule in rules], "models": verdicts})


if __name__ == "__main__":
    run_stage(main)
