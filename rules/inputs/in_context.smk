"""What a base with examples in its prompt reads and rests on: input and params functions. No rules here."""


def in_context_model(wildcards):
    """Return what vouches for all files of the base."""
    return model_sums(wildcards.base)


def in_context_tests(wildcards):
    """Return the test rows that a base answers."""
    names = plan.model_datasets(CONFIG, wildcards.base)
    return [f"results/datasets/{name}/test.parquet" for name in names]


def in_context_training(wildcards):
    """Return the rows that may be examples: those that trainings read."""
    names = plan.model_datasets(CONFIG, wildcards.base)
    return [f"{plan.training_folder(CONFIG, name)}/train.parquet" for name in names]


def in_context_spec(wildcards):
    """Return what a base is asked, how, and with which examples."""
    asked = CONFIG["generation"]
    how = {k: v for k, v in asked["in_context"].items() if k != "examples"}
    if how["choose"] == "random":
        del how["pool"]
    return spec_text(
        model=wildcards.base,
        sets=dataset_sets(wildcards.base),
        serve=reply_settings(),
        max_new_tokens=asked["max_new_tokens"],
        concurrency=asked["concurrency"],
        examples=int(wildcards.examples),
        **how,
    )


def in_context_packages(wildcards):
    """Return the versions of the packages that choose examples and answer."""
    similar = CONFIG["generation"]["in_context"]["choose"] == "similar"
    return packages("data", "serve", *(["maps"] if similar else []))


def all_in_context(name):
    """Return the file ``name`` of every base that answers with examples."""
    return [f"results/eval/{model}/{name}" for model in plan.in_context_models(CONFIG)]
