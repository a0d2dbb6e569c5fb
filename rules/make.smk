"""seeds -> asked of a generator -> rows of a source with their provenance.

needs:  results/sources/{from}/records.parquet or a file of prompts; an OpenAI-compatible endpoint,
        or results/models/{base}/ and results/generators/{base}/{share}.json (serve_generator)
makes:  results/sources/{source}/made/; what was paid stays in results/.cache/replies.sqlite
"""


include: "inputs/make.smk"
include: "inputs/keys.smk"


rule make_source:
    """Make a source by asking a generator; keep what can't be used with its reason."""
    input:
        seeds=make_seeds,
        server=make_server,
        model=make_model,
    output:
        made="results/sources/{source}/made/made.jsonl",
        rejected="results/sources/{source}/made/rejected.parquet",
        sums="results/sources/{source}/made/SHA256SUMS",
        manifest="results/sources/{source}/made/manifest.json",
    log:
        "results/logs/make_source/{source}.log",
    benchmark:
        "results/benchmarks/make_source/{source}.tsv"
    conda:
        "../envs/conda.yaml"
    threads: make_threads
    params:
        code=make_code,
        packages=make_packages,
        spec=make_spec,
        prompts=make_prompts_digest,
        limits=make_limits,
        model=lambda wildcards, input: os.path.dirname(str(input.model)),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/make_source.py" --spec {params.spec:q} --log {log}'
        " --limits {params.limits:q} --endpoint {input.server} --model {params.model}"
        " --seeds {input.seeds:q} --made {output.made}"
        " --rejected {output.rejected} --manifest {output.manifest}"
