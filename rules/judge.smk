"""answers of two models -> verdicts of a judge; answers -> scoring sheets -> what people think.

needs:  results/eval/{model}/generations.jsonl; an OpenAI-compatible endpoint, or results/models/{base}/
        and results/generators/{base}/answers.json (serve_generator); filled sheets
makes:  results/judged/{judge}/{pair}/, results/people/{sheet}/; what was paid stays in
        results/.cache/replies.sqlite

Only configs with judges or people have these jobs.
"""


include: "inputs/judge.smk"


rule judge_pair:
    """Let a judge compare two models' answers, blind and in both orders."""
    input:
        answers=pair_answers,
        server=pair_server,
        model=pair_judge,
    output:
        verdicts="results/judged/{judge}/{pair}/verdicts.jsonl",
        result="results/judged/{judge}/{pair}/win_rate.json",
    log:
        "results/logs/judge_pair/{judge}.{pair}.log",
    benchmark:
        "results/benchmarks/judge_pair/{judge}.{pair}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: pair_threads
    params:
        code=pair_code,
        packages=pair_packages,
        spec=pair_spec,
        places=["prompt"],
        prompt=pair_prompt_digest,
        limits=pair_limits,
        model=lambda wildcards, input: os.path.dirname(str(input.model)),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/judge_pair.py" --spec {params.spec:q} --log {log}'
        " --limits {params.limits:q} --endpoint {input.server} --model {params.model}"
        " --answers {input.answers} --verdicts {output.verdicts} --result {output.result}"


rule make_sheet:
    """Lay answers out for people to score, without saying whose they are."""
    input:
        answers=sheet_answers,
    output:
        html="results/people/{sheet}/sheet.html",
        csv="results/people/{sheet}/sheet.csv",
        key="results/people/{sheet}/key.json",
    log:
        "results/logs/make_sheet/{sheet}.log",
    benchmark:
        "results/benchmarks/make_sheet/{sheet}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("make_sheet"),
        packages=packages(),
        spec=sheet_spec,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/make_sheet.py" --spec {params.spec:q} --log {log}'
        " --answers {input.answers} --html {output.html} --csv {output.csv} --key {output.key}"


rule read_sheets:
    """Take filled sheets back in: mean scores of each model, and how far raters agree."""
    input:
        key="results/people/{sheet}/key.json",
    output:
        ratings="results/people/{sheet}/ratings.json",
    log:
        "results/logs/read_sheets/{sheet}.log",
    benchmark:
        "results/benchmarks/read_sheets/{sheet}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("read_sheets"),
        packages=packages("people"),
        spec=ratings_spec,
        places=["filled"],
        filled=filled_digest,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/read_sheets.py" --spec {params.spec:q} --log {log}'
        " --key {input.key} --ratings {output.ratings}"
