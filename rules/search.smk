"""space of settings -> trials -> the best one, as the run's result.

needs:  results/templated/{key}/, results/models/{base}/
makes:  results/runs/{run}/: rounds/{round}.json, trials/{trial}/, search.json, and what a run that
        is not searched has from train_adapter

A search goes by rounds: the trials of one run beside each other, and the next round is proposed
from the losses of all before. A trial takes its settings from its round as params, so of a round
that is proposed anew only those trials run that are not as they were; the file itself is
`ancient`, waited for and not looked at.
"""


include: "inputs/search.smk"


rule suggest_round:
    """Propose the settings of some trials from the losses of the rounds before."""
    input:
        trials=known_trials,
    output:
        round="results/runs/{run}/rounds/{round}.json",
    log:
        "results/logs/suggest_round/{run}.{round}.log",
    benchmark:
        "results/benchmarks/suggest_round/{run}.{round}.tsv"
    wildcard_constraints:
        run=any_of(SEARCHED),
        round=r"[1-9]\d*",
    conda:
        "../envs/conda.yaml"
    params:
        code=code("suggest_round"),
        packages=round_packages,
        spec=round_spec,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/suggest_round.py" --spec {params.spec:q} --log {log}'
        " --trials {input.trials} --round {output.round}"


rule train_trial:
    """Train with the settings of one trial; a killed job goes on from its last checkpoint."""
    input:
        round=ancient(proposing_round),
        data=templated_tokens,
        start=start_model,
    output:
        trained=directory("results/runs/{run}/trials/{trial}/trained"),
        trial="results/runs/{run}/trials/{trial}/trial.json",
    log:
        "results/logs/train_trial/{run}.{trial}.log",
    benchmark:
        "results/benchmarks/train_trial/{run}.{trial}.tsv"
    wildcard_constraints:
        run=any_of(SEARCHED),
        trial=r"[1-9]\d*",
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
        code=trial_code,
        packages=train_packages,
        spec=trial_spec,
        places=["texts"],
        texts=trained_texts_digest,
        templated=templated_folder,
        start=start_folder,
        checkpoints="results/runs/{run}/trials/{trial}/checkpoints",
    shell:
        'exec python "$SFTFLOW_HOME/scripts/train_trial.py" --spec {params.spec:q} --log {log}'
        " --templated {params.templated} --model {params.start} --trained {output.trained}"
        " --checkpoints {params.checkpoints} --trial {output.trial} --code {params.code}"


rule choose_trial:
    """Make the trial with the lowest validation loss the result of its run."""
    input:
        trials=all_trials,
        trained=all_trained,
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
        "results/logs/choose_trial/{run}.log",
    benchmark:
        "results/benchmarks/choose_trial/{run}.tsv"
    wildcard_constraints:
        run=any_of(SEARCHED),
    conda:
        "../envs/conda.yaml"
    params:
        code=code("choose_trial"),
        packages=packages(),
        spec=lambda wildcards: spec_text(run=wildcards.run),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/choose_trial.py" --spec {params.spec:q} --log {log}'
        " --trials {input.trials} --adapter {output.adapter} --samples {output.samples}"
        " --history {output.history} --manifest {output.manifest}"


rule list_trials:
    """Say of every trial what it was, what came of it and how long it took."""
    input:
        trials=all_trials,
        trained=all_trained,
    output:
        search="results/runs/{run}/search.json",
    log:
        "results/logs/list_trials/{run}.log",
    benchmark:
        "results/benchmarks/list_trials/{run}.tsv"
    wildcard_constraints:
        run=any_of(SEARCHED),
    conda:
        "../envs/conda.yaml"
    params:
        code=code("list_trials"),
        packages=packages(),
        spec=list_spec,
        times=trial_times,
    shell:
        'exec python "$SFTFLOW_HOME/scripts/list_trials.py" --spec {params.spec:q} --log {log}'
        " --times {params.times:q} --trials {input.trials} --search {output.search}"
