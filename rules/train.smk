"""tokens -> adapter -> merged model.

needs:  results/templated/{key}/, results/models/{base}/
makes:  results/runs/{run}/, results/models/{run}/
"""


def run_key(wildcards):
    """Return the templated data of a run."""
    return plan.templated_key(CONFIG, wildcards.run)


def templated_gate(wildcards):
    """Return the gate of a run's tokens."""
    return settled(
        "template_data", "results/templated/{key}/SHA256SUMS", key=run_key(wildcards)
    )


def start_gate(wildcards):
    """Return the gate of the model that a run starts from."""
    return model_gate(CONFIG["runs"][wildcards.run]["base"])


def start_folder(wildcards):
    """Return the folder of the model that a run starts from."""
    return f"results/models/{CONFIG['runs'][wildcards.run]['base']}"


def templated_folder(wildcards):
    """Return the folder of a run's tokens."""
    return f"results/templated/{run_key(wildcards)}"


def train_spec(wildcards):
    """Return the hyperparameters of a run, without what its method does not use."""
    run = CONFIG["runs"][wildcards.run]
    keys = ["method", "training", "launch"] + (
        ["lora"] if run["method"] != "full" else []
    )
    return spec_text(run=wildcards.run, **{k: run[k] for k in keys})


def merge_spec(wildcards):
    """Return what the merge of a run rests on."""
    run = CONFIG["runs"][wildcards.run]
    return spec_text(run=wildcards.run, method=run["method"], dtype=run["merge_dtype"])


def run_gate(wildcards):
    """Return the gate of a trained adapter."""
    return settled("train_adapter", "results/runs/{run}/SHA256SUMS", run=wildcards.run)


def run_processes(wildcards):
    """Return the GPUs of a training job, one per process."""
    return CONFIG["runs"][wildcards.run]["launch"]["num_processes"]


checkpoint train_adapter:
    """Fit one run's weights; a killed job goes on from its last checkpoint."""
    input:
        data=templated_gate,
        start=start_gate,
    output:
        adapter=directory("results/runs/{run}/adapter"),
        samples=directory("results/runs/{run}/samples"),
        history="results/runs/{run}/history.csv",
        sums="results/runs/{run}/SHA256SUMS",
        manifest="results/runs/{run}/manifest.json",
    log:
        "results/logs/train_adapter/{run}.log",
    benchmark:
        "results/benchmarks/train_adapter/{run}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: all_cores
    resources:
        gpu=run_processes,
    params:
        code=code("train_adapter", "train"),
        spec=train_spec,
        templated=templated_folder,
        start=start_folder,
        checkpoints="results/runs/{run}/checkpoints",
    shell:
        'exec python "$SFTFLOW_HOME/scripts/train_adapter.py" --spec {params.spec:q} --log {log}'
        " --templated {params.templated} --model {params.start} --adapter {output.adapter}"
        " --history {output.history} --samples {output.samples}"
        " --checkpoints {params.checkpoints} --manifest {output.manifest}"


checkpoint merge_adapter:
    """Merge a run into a plain model folder, and prove that it answers as the adapter does."""
    input:
        run=run_gate,
        start=start_gate,
        data=templated_gate,
        adapter=ancient("results/runs/{run}/adapter"),
    output:
        config="results/models/{run}/config.json",
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
        code=code("merge_adapter", "merge"),
        spec=merge_spec,
        folder=lambda wildcards, input: os.path.dirname(input.adapter),
        start=start_folder,
        templated=templated_folder,
        model=lambda wildcards, output: os.path.dirname(output.manifest),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/merge_adapter.py" --spec {params.spec:q} --log {log}'
        " --run {params.folder} --base {params.start} --templated {params.templated}"
        " --model {params.model} --manifest {output.manifest}"
