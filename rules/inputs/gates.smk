"""What the gates read and rest on: input and params functions. No rules here."""

from sftflow.faultrules import fault_rule
from sftflow.gate_rules import gated_models


def gates_spec():
    """Return the rules, the models that they are for, and what counts as a benchmark."""
    models = gated_models(CONFIG)
    suites = {suite for model in models for suite in plan.model_suites(CONFIG, model)}
    return spec_text(
        rules=CONFIG["gates"]["rules"],
        models=[gated_model(name) for name in models],
        suites=sorted(suites),
        questions=gated_datasets(),
    )


def gated_datasets():
    """Return the datasets of gated models that are trained on with benchmark questions in them.

    Only the rule ``no known fault`` asks for them.
    """
    if not any(map(fault_rule, CONFIG["gates"]["rules"])):
        return []
    datasets = {gated_model(name)["dataset"] for name in gated_models(CONFIG)}
    return sorted(d for d in datasets if d and plan.keeps_questions(CONFIG, d))


def gated_contamination(wildcards):
    """Return what was found of benchmark questions in those datasets."""
    return [f"results/datasets/{d}/contamination.json" for d in gated_datasets()]


def gated_model(name):
    """Return what a gate must know of a model: its start, and what it was trained on."""
    run = plan.run_of(CONFIG, name)
    entry = CONFIG["runs"].get(run, {})
    return {
        "name": name,
        "base": plan.start_of(CONFIG, name),
        "dataset": entry.get("dataset"),
        **({"preferences": True} if entry.get("dpo") is not None else {}),
    }


def gates_checked(wildcards):
    """Return the gates' verdicts, if the config has gates."""
    return ["results/gates.json"] if CONFIG["gates"]["rules"] else []


def gates_demanded(wildcards):
    """Return the gates' verdicts; end before any job if the config has no gates."""
    if not CONFIG["gates"]["rules"]:
        sys.exit(
            "config error: gates.rules: has no rule that a model could pass or fail"
        )
    return gates_checked(wildcards)
