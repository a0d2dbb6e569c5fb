"""summary, manifests, answers -> the page.

needs:  everything under results/
makes:  results/report.html
"""


include: "inputs/report.smk"


rule build_report:
    """Show everything on one self-contained page."""
    input:
        summary="results/summary.csv",
        measurements=all_measurements,
        requests=limited_requests,
        runs=all_runs,
        preferences=all_preferences,
        searches=all_searches,
        manifests=all_manifests,
        portraits=all_portraits,
        answers=all_answers,
        verdicts=all_verdicts,
        judged=all_judged,
        people=all_ratings,
        comparisons=all_comparisons,
        gates=gates_checked,
        contamination=all_contamination,
        history="results/history.json",
    output:
        html=report(
            "results/report.html",
            caption="captions/report.rst",
            category="All results",
            labels={"what": "the page"},
        ),
    log:
        "results/logs/build_report.log",
    benchmark:
        "results/benchmarks/build_report.tsv"
    conda:
        "../envs/conda.yaml"
    params:
        code=code("build_report"),
        packages=packages("report"),
        spec=report_spec(),
        told=packed(report_spec()),
    shell:
        'exec python "$SFTFLOW_HOME/scripts/build_report.py" --spec {params.told:q} --log {log}'
        " --results results --html {output.html}"
