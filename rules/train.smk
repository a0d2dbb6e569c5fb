"""tokens -> adapter -> merged model.

needs:  results/templated/{key}/, results/models/{base}/
makes:  results/runs/{run}/, results/models/{run}/
"""


include: "inputs/train.smk"
include: "inputs/memory.smk"


rule train_adapter:
    """Fit one run's weights; a killed job goes on from its last checkpoint."""
    input:
        data=templated_tokens,
        start=start_model,
    output:
        adapter=directory("results/runs/{run}/adapter"),
        samples=directory("results/runs/{run}/samples"),
        history=report(
            "results/runs/{run}/history.csv",
            caption="captions/course.rst",
            category="Training",
            labels={"run": "{run}"},
        ),
        sums="results/runs/{run}/SHA256SUMS",
        manifest="results/runs/{run}/manifest.json",
    log:
        "results/logs/train_adapter/{run}.log",
    benchmark:
        "results/benchmarks/train_adapter/{run}.tsv"
    wildcard_constraints:
        run=any_of(set(RUNS) - set(plan.preference_runs(CONFIG)) - set(SEARCHED)),
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
        places=["texts", "prompts"],
        texts=trained_texts_digest,
        prompts=asked_prompts_digest,
        trackers=run_trackers,
        templated=templated_folder,
        start=start_folder,
        checkpoints="results/runs/{run}/checkpoints",
        memory=memory_check,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/train_adapter.py" --spec {params.spec:q} --log {log}'
        " --templated {params.templated} --model {params.start} --adapter {output.adapter}"
        " --history {output.history} --samples {output.samples}"
        " --checkpoints {params.checkpoints} --manifest {output.manifest} --code {params.code}"
        " --memory {params.memory:q}"
        " --report-to {params.trackers} --trackers results/trackers"


rule merge_adapter:
    """Merge a run into a plain model folder, and prove that it answers as the adapter does."""
    input:
        run="results/runs/{run}/manifest.json",
        adapter="results/runs/{run}/adapter",
        start=merged_into,
        data=templated_tokens,
    output:
        config="results/models/{run}/config.json",
        start="results/models/{run}/START.SHA256SUMS",
        sums="results/models/{run}/SHA256SUMS",
        manifest="results/models/{run}/manifest.json",
    log:
        "results/logs/merge_adapter/{run}.log",
    benchmark:
        "results/benchmarks/merge_adapter/{run}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: all_cores
    params:
        code=code("merge_adapter"),
        packages=packages("merge"),
        spec=merge_spec,
        folder=lambda wildcards, input: os.path.dirname(input.adapter),
        start=start_folder,
        templated=templated_folder,
        model=lambda wildcards, output: os.path.dirname(output.manifest),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/merge_adapter.py" --spec {params.spec:q} --log {log}'
        " --run {params.folder} --base {params.start} --templated {params.templated}"
        " --model {params.model} --manifest {output.manifest}"
