"""answers -> scores; model -> losses; course and losses of a run -> verdicts; all -> summary.csv.

needs:  results/eval/{model}/, results/models/{model}/, results/templated/{key}/, results/runs/{run}/
makes:  results/eval/{model}/{scores.json,loss.json,loss_rows.parquet}, results/runs/{run}/verdicts.json,
        results/summary.csv
"""


include: "inputs/evaluate.smk"


rule score_answers:
    """Score a model's answers against the references."""
    input:
        generations="results/eval/{model}/generations.jsonl",
    output:
        scores="results/eval/{model}/scores.json",
    log:
        "results/logs/score_answers/{model}.log",
    benchmark:
        "results/benchmarks/score_answers/{model}.tsv"
    wildcard_constraints:
        model=any_of([*MODELS, *plan.in_context_models(CONFIG)]),
    conda:
        "../envs/conda.yaml"
    params:
        code=code("score_answers"),
        packages=packages("scores"),
        spec=score_spec,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/score_answers.py" --spec {params.spec:q} --log {log}'
        " --generations {input.generations} --scores {output.scores}"


rule measure_loss:
    """Measure a model's loss on validation, training and general texts, and what it recites."""
    input:
        model=served_model,
        data=loss_rows,
    output:
        loss="results/eval/{model}/loss.json",
        rows="results/eval/{model}/loss_rows.parquet",
    log:
        "results/logs/measure_loss/{model}.log",
    benchmark:
        "results/benchmarks/measure_loss/{model}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: all_cores
    resources:
        gpu=1,
    params:
        code=code("measure_loss"),
        packages=packages("losses"),
        spec=loss_spec,
        places=["texts"],
        texts=texts_digest,
        model=model_folder,
        adapter=loss_adapter,
        templated=lambda wildcards, input: list(
            dict.fromkeys(os.path.dirname(path) for path in input.data)
        ),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/measure_loss.py" --spec {params.spec:q} --log {log}'
        " --model {params.model} {params.adapter} --templated {params.templated}"
        " --loss {output.loss} --rows {output.rows}"


rule judge_run:
    """Say whether a training was healthy, overfit, underfit ..., and what to change."""
    input:
        run="results/runs/{run}/manifest.json",
        history="results/runs/{run}/history.csv",
        samples="results/runs/{run}/samples",
        tuned=trained_losses,
        start=start_losses,
        answers=trained_answers,
        start_answers=start_answers,
        preferences=run_preferences,
    output:
        verdicts="results/runs/{run}/verdicts.json",
    log:
        "results/logs/judge_run/{run}.log",
    benchmark:
        "results/benchmarks/judge_run/{run}.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("judge_run"),
        packages=packages(),
        spec=judge_spec,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/judge_run.py" --spec {params.spec:q} --log {log}'
        " --run {input.run} --history {input.history} --samples {input.samples}"
        " --tuned {input.tuned} --start {input.start} --answers {input.answers}"
        " --start-answers {input.start_answers} --preferences {input.preferences}"
        " --verdicts {output.verdicts}"


rule summarize_results:
    """Put every figure into one table: a row per model and metric."""
    input:
        measurements=all_measurements,
        requests=limited_requests,
        runs=all_runs,
        preferences=all_preferences,
        judged=all_judged,
        people=all_ratings,
    output:
        summary=report(
            "results/summary.csv",
            caption="captions/summary.rst",
            category="All results",
            labels={"what": "every figure"},
        ),
    log:
        "results/logs/summarize_results.log",
    benchmark:
        "results/benchmarks/summarize_results.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("summarize_results"),
        packages=packages(),
        spec=spec_text(
            models=models_spec(),
            slo=CONFIG["latency"]["slo"],
            in_context=in_context_entries(),
            **opinions_spec(),
        ),
        told=packed(
            spec_text(
                models=models_spec(),
                slo=CONFIG["latency"]["slo"],
                in_context=in_context_entries(),
                **opinions_spec(),
            )
        ),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/summarize_results.py" --spec {params.told:q}'
        " --log {log} --results results --summary {output.summary}"
