"""What comparisons read and rest on: input and params functions. No rules here."""


def common_suites(wildcards):
    """Return the suites that both models were measured by."""
    other = plan.model_suites(CONFIG, wildcards.other)
    return [s for s in plan.model_suites(CONFIG, wildcards.model) if s in other]


def said_by(model, suites):
    """Return the answers and the benchmark samples of a model."""
    samples = [f"benchmark/{suite}.samples.jsonl" for suite in suites]
    return [f"results/eval/{model}/{name}" for name in ("generations.jsonl", *samples)]


def said_by_model(wildcards):
    """Return what the model said to what both were asked."""
    return said_by(wildcards.model, common_suites(wildcards))


def said_by_other(wildcards):
    """Return what the one that it is held against said to it."""
    return said_by(wildcards.other, common_suites(wildcards))


def comparison_spec(wildcards):
    """Return the prompt sets and suites that both models have."""
    other = plan.model_datasets(CONFIG, wildcards.other)
    sets = {
        name: said
        for name, said in scored_sets(wildcards.model).items()
        if name in other or name == "prompts"
    }
    return spec_text(
        model=wildcards.model,
        against=wildcards.other,
        sets=sets,
        suites=common_suites(wildcards),
    )


def all_comparisons(wildcards):
    """Return every comparison that the config asks for."""
    pairs = plan.comparisons(CONFIG)
    return [f"results/eval/{model}/against/{other}.json" for model, other in pairs]
