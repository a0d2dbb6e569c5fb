"""Make the one page that says what was run and whether it helped.

reads   under results: summary.csv, gates.json, history.json, datasets/{dataset}/portrait.json, the
        manifests of sources, datasets, templated data, runs and models; judged/ and people/;
        eval/{model}/: latency.json, generations.jsonl, scores.json, against/{other}.json, and
        latency_requests.parquet where slo sets a limit;
        runs/{run}/: history.csv, verdicts.json, search.json, samples/answers.jsonl
writes  report.html: self-contained, no network
spec    title, models (as in summarize_results, with templated: [keys]), datasets: {name:
        {sources, ...}}, runs: {name: {base, dataset, method, ...}}, suites: {name: {limit,
        ...}}, slo, in_context, judges and people as in summarize_results, comparisons:
        [[model, against]], sweeps: {name: [runs]}, gates: [rules], and optionally headline
        ("group/metric" to put first), sample_answers, sample_chars, redact_samples
"""

from __future__ import annotations

from sftflow.manifests import write_text
from sftflow.report import page
from sftflow.stage import console, run_stage, stage_parser
from sftflow.summary import read_summary


def main(argv: list[str] | None = None) -> None:
    """Read the results and write the page."""
    args = stage_parser(__doc__, "results", "html").parse_args(argv)
    html = page(args.results, args.spec, read_summary(args.results / "summary.csv"))
    write_text(args.html, html)
    console().say(f"{args.html}: {len(html.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run_stage(main)
