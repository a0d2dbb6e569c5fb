"""preference pairs -> tokens -> adapter: DPO after supervised fine-tuning.

needs:  results/datasets/{dataset}/, results/models/{base}/ (of a run as well as of a base)
makes:  results/templated/{key}/, results/runs/{run}/ of the runs with dpo; rules/train.smk merges
"""


rule template_preferences:
    """Render and tokenise pairs: one prompt, the preferred answer and the other one."""
    input:
        rows=templated_rows,
        tokenizer=templated_tokenizer,
    output:
        train="results/templated/{key}/train.parquet",
        validation="results/templated/{key}/validation.parquet",
        preview="results/templated/{key}/preview.html",
        rejected="results/templated/{key}/rejected.parquet",
        sums="results/templated/{key}/SHA256SUMS",
        manifest="results/templated/{key}/manifest.json",
    log:
        "results/logs/template_preferences/{key}.log",
    benchmark:
        "results/benchmarks/template_preferences/{key}.tsv"
    wildcard_constraints:
        key=any_of(key for key, spec in TEMPLATED.items() if "pairs" in spec),
    conda:
        "../envs/conda.yaml"
    params:
        code=code("template_preferences"),
        packages=packages("tokens"),
        spec=templated_spec,
        dataset=lambda wildcards, input: os.path.dirname(input.rows[0]),
        model=lambda wildcards, input: os.path.dirname(input.tokenizer),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/template_preferences.py" --spec {params.spec:q}'
        " --log {log} --dataset {params.dataset} --model {params.model} --train {output.train}"
        " --validation {output.validation} --manifest {output.manifest}"
        " --preview {output.preview}"


rule train_preferences:
    """Fit one run's weights to pairs by DPO; a killed job goes on from its last checkpoint."""
    input:
        data=templated_tokens,
        start=start_model,
    output:
        adapter=directory("results/runs/{run}/adapter"),
        samples=directory("results/runs/{run}/samples"),
        history="results/runs/{run}/history.csv",
        preferences="results/runs/{run}/preferences.json",
        sums="results/runs/{run}/SHA256SUMS",
        manifest="results/runs/{run}/manifest.json",
    log:
        "results/logs/train_preferences/{run}.log",
    benchmark:
        "results/benchmarks/train_preferences/{run}.tsv"
    wildcard_constraints:
        run=any_of(plan.preference_runs(CONFIG)),
    conda:
        "../envs/conda.yaml"
    threads: all_cores
    resources:
        gpu=run_gpus,
        gres=node_gpus,
        nodes=run_nodes,
        tasks=run_tasks,
        mpi=run_starter,
    params:
        code=train_code,
        packages=train_packages,
        spec=train_spec,
        memory=memory_check,
        trackers=run_trackers,
        templated=templated_folder,
        start=start_folder,
        checkpoints="results/runs/{run}/checkpoints",
    shell:
        'exec python "$SFTFLOW_HOME/scripts/train_preferences.py" --spec {params.spec:q}'
        " --log {log} --templated {params.templated} --model {params.start}"
        " --adapter {output.adapter} --history {output.history} --samples {output.samples}"
        " --preferences {output.preferences} --checkpoints {params.checkpoints}"
        " --manifest {output.manifest} --code {params.code}"
        " --memory {params.memory:q}"
        " --report-to {params.trackers} --trackers results/trackers"
