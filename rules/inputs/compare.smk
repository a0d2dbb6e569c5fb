"""What comparisons read and rest on: input and params functions. No rules here."""


def common_suites(wildcards):
    """Return the suites that both models were measured by."""
    other = plan.model_suites(CONFIG, wildcards.other)
    return [s for s in plan.model_suites(CONFIG, wildcards.model) if s in other]


def said_by(model, suites):
    """Return the answers, the benchmark samples and the losses of a model, row by row."""
    samples = [f"benchmark/{suite}.samples.jsonl" for suite in suites]
    names = ("generations.jsonl", "loss_rows.parquet", *samples)
    return [f"results/eval/{model}/{name}" for name in names]


def said_by_model(wildcards):
    """Return what the model said to what both were asked."""
    return said_by(wildcards.model, common_suites(wildcards))


def said_by_other(wildcards):
    """Return what the one that it is held against said to it."""
    return said_by(wildcards.other, common_suites(wildcards))


def common_losses(wildcards):
    """Return the losses that were measured of both models."""
    other = plan.model_keys(CONFIG, wildcards.other)
    keys = [k for k in plan.model_keys(CONFIG, wildcards.model) if k in other]
    sides = (
        ("validation", "train") if CONFIG["memorisation"]["rows"] else ("validation",)
    )
    texts = [f"text.{name}" for name in CONFIG["texts"]]
    return [*texts, *(f"{side}.{key}" for key in keys for side in sides)]


def comparison_spec(wildcards):
    """Return the prompt sets, suites and losses that both models have."""
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
        losses=common_losses(wildcards),
    )


def all_comparisons(wildcards):
    """Return every comparison that the config asks for."""
    pairs = plan.comparisons(CONFIG)
    return [f"results/eval/{model}/against/{other}.json" for model, other in pairs]
