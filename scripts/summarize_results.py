"""Put every measurement of every model into one long table.

reads   results/eval/{model}/scores.json, benchmark/{suite}.json, latency.json, loss.json;
        latency_requests.parquet where slo sets a limit; results/runs/{model}/preferences.json of
        models with preferences; results/judged/*/*/win_rate.json,
        results/people/*/ratings.json
writes  summary.csv: model, kind (base or tuned), group (a suite, scores, latency, loss,
        preferences, judged or people), metric, value, stderr, n; an empty cell is something that
        was asked for and is not there
spec    models: list of {name, kind, base, suites: [names], datasets: [names], preferences: true if
        trained on pairs}; in_context: the same of bases with examples in their prompt, of which
        there are scores only; judges: {name: [{pair, models}]}; people: names of filled sheets;
        slo: {ttft_ms, tpot_ms, e2e_ms, attainment}, null where there is no limit
"""

from __future__ import annotations

from sftflow.measured import asked, measurements
from sftflow.opinions import opinion_rows
from sftflow.stage import console, run_stage, stage_parser
from sftflow.summary import with_gaps, write_summary


def main(argv: list[str] | None = None) -> None:
    """Read what was measured and write the table."""
    args = stage_parser(__doc__, "results", "summary").parse_args(argv)
    models = args.spec["models"]
    in_context, slo = args.spec.get("in_context", []), args.spec.get("slo", {})
    measured = [
        row for model in [*models, *in_context] for row in measurements(args.results, model, slo)
    ]
    measured += opinion_rows(args.results, args.spec)
    rows = with_gaps(measured, [row for model in models for row in asked(model)])
    write_summary(args.summary, rows)
    gaps = sum(row.value is None for row in rows)
    console().say(f"{len(rows) - gaps} figures of {len(models)} models, {gaps} not measured")


if __name__ == "__main__":
    run_stage(main)
