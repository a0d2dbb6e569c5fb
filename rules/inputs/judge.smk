"""What judges and people read and rest on: input and params functions. No rules here."""


def pair_models(wildcards):
    """Return the two models of a pair."""
    return plan.judged_pairs(CONFIG, wildcards.judge)[wildcards.pair]


def model_answers(models):
    """Return the answers of models."""
    return [f"results/eval/{model}/generations.jsonl" for model in models]


def pair_answers(wildcards):
    """Return the answers of the two models of a pair."""
    return model_answers(pair_models(wildcards))


def pair_server(wildcards):
    """Return the file of the server that judges, as a list: elsewhere there is none."""
    path = generators.answer_server(CONFIG, wildcards.judge)
    return [] if path is None else [path]


def pair_judge(wildcards):
    """Return what vouches for the files of the base that judges, as a list."""
    base = generators.answer_judge(CONFIG, wildcards.judge)
    return [] if base is None else [model_sums(base)]


def pair_threads(wildcards):
    """Return the threads of a judging: none where it waits for a server, which has the cores."""
    return 0 if pair_judge(wildcards) else 1


def pair_code(wildcards):
    """Return the digest of the code that judges."""
    return code("judge_pair") + (code("serve_model") if pair_judge(wildcards) else "")


def pair_packages(wildcards):
    """Return the versions of the packages that shape verdicts and figures."""
    return packages("statistics", *(["serve"] if pair_judge(wildcards) else []))


def pair_spec(wildcards):
    """Return what the verdicts on a pair rest on; what bounds requests is no part of it."""
    entry = CONFIG["judges"][wildcards.judge]
    left_out = ("description", "endpoint", "limits", "pairs")
    settings = {k: v for k, v in entry.items() if k not in left_out}
    endpoint = {k: v for k, v in entry["endpoint"].items() if k != "api_key_env"}
    if pair_judge(wildcards):
        del endpoint["base_url"]
        settings["serve"] = reply_settings()
    return spec_text(
        judge=wildcards.judge,
        models=list(pair_models(wildcards)),
        endpoint=endpoint,
        **settings,
    )


def pair_prompt_digest(wildcards):
    """Return what the config's own prompt says; the shipped one counts as code."""
    path = CONFIG["judges"][wildcards.judge]["prompt"]
    return None if path is None else content_digest(project_path(path))


def pair_limits(wildcards):
    """Return what bounds the requests, and where the key is found: no verdict rests on it."""
    entry = CONFIG["judges"][wildcards.judge]
    return spec_text(api_key_env=entry["endpoint"]["api_key_env"], **entry["limits"])


def sheet_answers(wildcards):
    """Return the answers that are on a sheet."""
    return model_answers(plan.sheet_models(CONFIG, wildcards.sheet))


def sheet_spec(wildcards):
    """Return whose answers are on a sheet, and how it is laid out."""
    entry = CONFIG["people"][wildcards.sheet]
    keys = ("rows", "show_reference", "seed")
    return spec_text(
        sheet=wildcards.sheet,
        title=CONFIG["title"],
        models=plan.sheet_models(CONFIG, wildcards.sheet),
        **{key: entry[key] for key in keys},
    )


def filled_digest(wildcards):
    """Return what the filled sheets say, with their names, which may be those of raters."""
    paths = CONFIG["people"][wildcards.sheet]["filled"]
    return [(os.path.basename(p), content_digest(project_path(p))) for p in paths]


def ratings_spec(wildcards):
    """Return which sheets are read, and which models are compared."""
    models = plan.sheet_models(CONFIG, wildcards.sheet)
    starts = [(model, plan.start_of(CONFIG, model)) for model in models]
    return spec_text(
        sheet=wildcards.sheet,
        filled=CONFIG["people"][wildcards.sheet]["filled"],
        models=models,
        pairs=[[model, start] for model, start in starts if start in models],
    )


def all_judged(wildcards):
    """Return the win rates of every judge."""
    return [
        f"results/judged/{judge}/{pair}/win_rate.json"
        for judge in CONFIG["judges"]
        for pair in plan.judged_pairs(CONFIG, judge)
    ]


def all_sheets(wildcards):
    """Return the scoring sheets to hand out."""
    return [f"results/people/{sheet}/sheet.html" for sheet in CONFIG["people"]]


def all_ratings(wildcards):
    """Return what people think, of each sheet that somebody has filled."""
    filled = [name for name, sheet in CONFIG["people"].items() if sheet["filled"]]
    return [f"results/people/{sheet}/ratings.json" for sheet in filled]


def opinions_spec():
    """Return which judges and people were asked about which models."""
    judged = {
        judge: [
            {"pair": pair, "models": list(models)}
            for pair, models in plan.judged_pairs(CONFIG, judge).items()
        ]
        for judge in CONFIG["judges"]
    }
    people = [name for name, sheet in CONFIG["people"].items() if sheet["filled"]]
    return {"judges": judged, "people": people}
