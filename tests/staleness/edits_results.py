"""What happens to results: they are copied, touched, deleted, damaged, left half made."""

from __future__ import annotations

from staleness.changes import damage, delete, interrupted, move_deeper, touch_everything
from staleness.edit import Edit
from staleness.jobs import BASE, RUN

COPIED = [
    Edit("touch of everything", touch_everything),
    Edit(
        "logs and durations deleted",
        lambda p: (p.delete("results/logs"), p.delete("results/benchmarks")),
    ),
    Edit("Snakemake's own records deleted", delete(".snakemake")),
    Edit("a fresh copy, deeper, with new time stamps", move_deeper),
]

LOST = [
    Edit("a payload deleted", delete("results/datasets/d/train.parquet"), {"split_dataset d"}),
    Edit("a manifest deleted", delete("results/datasets/d/manifest.json"), {"split_dataset d"}),
    Edit("sums deleted", delete(f"results/models/{RUN}/SHA256SUMS"), {f"merge_adapter {RUN}"}),
    Edit("the report deleted", delete("results/report.html"), {"build_report"}),
    Edit("the summary deleted", delete("results/summary.csv"), {"summarize_results"}),
    Edit("scores deleted", delete(f"results/eval/{BASE}/scores.json"), {f"score_answers {BASE}"}),
    Edit(
        "records damaged",
        damage("results/datasets/d/cleaned/records.parquet"),
        {"clean_dataset d"},
    ),
    Edit(
        "rejected rows damaged", damage("results/datasets/d/rejected.parquet"), {"clean_dataset d"}
    ),
    Edit("tokens damaged", damage("results/templated/*/train.parquet"), {"template_data *"}),
    Edit(
        "merged weights damaged",
        damage(f"results/models/{RUN}/model.safetensors"),
        {f"merge_adapter {RUN}"},
    ),
    Edit("adapter deleted", delete(f"results/runs/{RUN}/adapter"), {f"train_adapter {RUN}"}),
    Edit("an interrupted run continued", interrupted, {"build_report"}),
]
