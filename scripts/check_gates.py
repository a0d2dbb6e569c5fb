"""Say of each model whether it passes the rules that the config sets for it.

reads   summary.csv; results/eval/{model}/against/{base}.json, whose standard errors are paired;
        results/datasets/{dataset}/contamination.json of those named in questions
writes  gates.json: {rules: [text], models: {name: {verdict: pass|fail, rules: [{rule, verdict:
        pass|fail|not measured, measure, value, figure, limit, measures, sentence}]}}}
spec    rules: [text], models: [{name, base, dataset, preferences: true of a run on pairs}],
        suites: [names], questions: [datasets whose rows with benchmark questions are trained on]

What was not measured is not passed. No model fails here: that is the rule ``gate``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sftflow.comparison import compare
from sftflow.defects import defects
from sftflow.faultrules import FaultRule, fault_rule, faults_checked
from sftflow.gates import Known, checked, parsed
from sftflow.manifests import write_json
from sftflow.measured import read_object
from sftflow.seenquestions import with_questions
from sftflow.stage import console, run_stage, stage_parser
from sftflow.summary import Measurement, read_summary


def paired_differences(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the paired differences by group and metric, {} if the file is not there."""
    if not path.exists():
        return {}
    return {(m["group"], m["metric"]): m for m in read_object(path)["measures"]}


def main(argv: list[str] | None = None) -> None:
    """Read what was measured, hold it against the rules, write and say the verdicts."""
    args = stage_parser(__doc__, "results", "gates").parse_args(argv)
    spec, measured = args.spec, {}
    for row in read_summary(args.results / "summary.csv"):
        measured.setdefault(row.model, {})[row.group, row.metric] = row
    rules = [fault_rule(text) or parsed(text) for text in spec["rules"]]
    verdicts: dict[str, Any] = {}
    kept = spec.get("questions", [])
    for model in with_questions(args.results, spec["models"], kept):
        name, base = model["name"], model["base"]
        mine: dict[tuple[str, str], Measurement] = measured.get(name, {})
        start: dict[tuple[str, str], Measurement] = measured.get(base, {})
        pairs = paired_differences(args.results / "eval" / name / "against" / f"{base}.json")
        errors = {key: pair["stderr"] for key, pair in pairs.items()}
        known = Known(mine, start, errors, spec["suites"])
        faults = defects(compare(start.values(), mine.values(), pairs), model)
        said = [
            faults_checked(rule, faults) if isinstance(rule, FaultRule) else checked(rule, known)
            for rule in rules
        ]
        failed = [one for one in said if one["verdict"] != "pass"]
        verdicts[name] = {"verdict": "fail" if failed else "pass", "rules": said}
        console().say(f"{name}: {len(said) - len(failed)} of {len(said)} gates passed")
    write_json(args.gates, {"rules": [rule.text for rule in rules], "models": verdicts})


if __name__ == "__main__":
    run_stage(main)
