"""Hold one model against another, row by row: by default a tuned model against its start model.

reads   generations.jsonl and loss_rows.parquet of both, and {suite}.samples.jsonl of both for each
        suite
writes  {against}.json: {model, against, measures: [{group, metric, n, model, against, difference,
        low, high, stderr, wins, losses, ties, p, p_holm, test}], answers: {set: {n, identical}},
        turned: {set: {metric, gained, lost, rows: [{id, before, after}]}}, settings, versions}
spec    model, against, sets: {name: {metrics}}, suites: [names], losses: [names]; both models
        have all of them

The difference is model minus against. ``turned`` counts the rows that are better and worse by a
set's first metric, and names those that lost most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from sftflow.answers import rows_by_set
from sftflow.benchmarksamples import paired_suite
from sftflow.comparison import ALPHA
from sftflow.direction import direction
from sftflow.manifests import write_json
from sftflow.paired import Paired, adjusted, paired_means, paired_sums
from sftflow.pairedlosses import paired_losses
from sftflow.resampling import CONFIDENCE, RESAMPLES, SEED
from sftflow.scoring import WHOLES, Row, answered_pairs, chosen_metrics, row_values
from sftflow.stage import StageError, console, run_stage, stage_parser
from sftflow.sums import SUMS

PACKAGES = ("scipy", "statsmodels", "sacrebleu", "rapidfuzz", "scikit-learn")
ROWS_NAMED = 50  # of those that lost most

Pairs = Sequence[tuple[Row, Row]]  # the same prompt's rows: of the other model, of the model


def paired_rows(name: str, against: Sequence[Row], model: Sequence[Row]) -> Pairs:
    """Return the rows of one set that both models answered, in the model's order."""
    known = {str(row["id"]): row for row in against}
    pairs = [(known[str(row["id"])], row) for row in model if str(row["id"]) in known]
    for one, other in pairs:
        if one["reference"] != other["reference"]:
            raise StageError(
                f"set {name}: row '{other['id']}' has another reference for each model; "
                "delete both generations.jsonl"
            )
    return [pair for pair in pairs if None not in (pair[0]["answer"], pair[1]["answer"])]


def set_measures(name: str, pairs: Pairs, metrics: Sequence[str]) -> list[Paired]:
    """Return the paired difference of each metric of a set; distinct-n has none."""
    sides = [row for row, _ in pairs], [row for _, row in pairs]
    found: list[Paired | None] = []
    for metric in metrics:
        if metric in SUMS:
            texts = [answered_pairs(side) for side in sides]
            if texts[0][0]:
                sums = [SUMS[metric](*each) for each in texts]
                found.append(paired_sums("scores", f"{name}.{metric}", *sums))
        elif metric not in WHOLES:
            before, after = (row_values(metric, side) for side in sides)
            for key in before:
                found.append(paired_means("scores", f"{name}.{key}", before[key], after[key]))
    return [measure for measure in found if measure is not None]


def turned(name: str, pairs: Pairs, metrics: Sequence[str]) -> dict[str, Any] | None:
    """Return which rows are better and worse by the first metric that says so of a row."""
    metric = next(
        (m for m in metrics if m not in WHOLES and direction("scores", f"{name}.{m}")), None
    )
    if metric is None or not any(row["reference"] is not None for row, _ in pairs):
        return None
    way = direction("scores", f"{name}.{metric}")
    before, after = (row_values(metric, [pair[i] for pair in pairs])[metric] for i in (0, 1))
    known = [
        (way * (new - old), place, old, new)
        for place, (old, new) in enumerate(zip(before, after, strict=True))
        if None not in (old, new)
    ]
    lost = sorted(one for one in known if one[0] < 0)
    return {
        "metric": metric,
        "gained": sum(gain > 0 for gain, *_ in known),
        "lost": len(lost),
        "rows": [
            {"id": str(pairs[place][1]["id"]), "before": old, "after": new}
            for _, place, old, new in lost[:ROWS_NAMED]
        ],
    }


def compared_sets(
    asked: Mapping[str, Any], against: Path, model: Path
) -> tuple[list[Paired], dict[str, Any], dict[str, Any]]:
    """Return the measures of all sets, the answers that are the same, and the rows that turned."""
    first, second = (rows_by_set(path, asked, others=True) for path in (against, model))
    measures: list[Paired] = []
    same, changed = {}, {}
    for name, said in asked.items():
        pairs = paired_rows(name, first[name], second[name])
        metrics = chosen_metrics(second[name], said["metrics"])
        measures += set_measures(name, pairs, metrics)
        same[name] = {
            "n": len(pairs),
            "identical": sum(one["answer"] == other["answer"] for one, other in pairs),
        }
        if (rows := turned(name, pairs, metrics)) is not None:
            changed[name] = rows
    return measures, same, changed


def main(argv: list[str] | None = None) -> None:
    """Pair what both models said, and write the differences."""
    parser = stage_parser(__doc__, "model", "against", "comparison")
    args = parser.parse_args(argv)
    spec = args.spec
    measures, same, changed = compared_sets(
        spec["sets"], args.against / "generations.jsonl", args.model / "generations.jsonl"
    )
    places = [f"benchmark/{suite}.samples.jsonl" for suite in spec["suites"]]
    suites = [
        paired_suite(suite, args.against / place, args.model / place)
        for suite, place in zip(spec["suites"], places, strict=True)
    ]
    losses = spec.get("losses", [])
    rows = [folder / "loss_rows.parquet" for folder in (args.against, args.model)]
    families = measures, list(chain.from_iterable(suites)), paired_losses(losses, *rows)
    found = [one for family in families for one in adjusted(family)]
    write_json(
        args.comparison,
        {
            "model": spec["model"],
            "against": spec["against"],
            "measures": [measure.as_dict() for measure in found],
            "answers": same,
            "turned": changed,
            "settings": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED},
            "versions": {name: version(name) for name in PACKAGES},
        },
    )
    told = [m for m in found if m.p_holm is not None and m.p_holm < ALPHA]
    gains = sum(m.difference * direction(m.group, m.metric) > 0 for m in told)
    alike, answers = (sum(one[key] for one in same.values()) for key in ("identical", "n"))
    console().say(
        f"{spec['model']} against {spec['against']}: better on {gains}, worse on "
        f"{len(told) - gains} of {len(found)} measures; {alike} of {answers} answers are the same"
    )


if __name__ == "__main__":
    run_stage(main)
