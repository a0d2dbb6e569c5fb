"""What a training leaves: adapter, history, samples and, last, the manifest that vouches for it.

Imported only where a training runs.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from sftflow.adapters import convert_moved, tidy_adapter
from sftflow.adapting import moves_weights
from sftflow.checkpointanswers import write_answers
from sftflow.folders import START_SUMS, make_readable
from sftflow.history import history_csv, history_rows
from sftflow.manifests import write_manifest, write_text


def write_result(run: Any, trainer: Any, kept: Path, counts: dict[str, Any]) -> None:
    """Write what a run (train_adapter.Run) came to; ``kept`` is the folder of its saved weights."""
    args = run.args
    put_adapter(run, trainer, kept)
    answered = trainer.generation.metrics if trainer.generation else ()
    more = {**run.logged, **{f"eval_{name}": f"eval_{name}" for name in answered}}
    rows = history_rows(trainer.state.log_history, more)
    write_text(args.history, history_csv(rows, more.values()))
    write_answers(trainer, run.folder / "samples", args.samples)
    run.rehearsal.keep(args.checkpoints.parent)
    files = [p for p in (*args.adapter.rglob("*"), *args.samples.rglob("*")) if p.is_file()]
    write_manifest(
        args.manifest,
        stage=run.stage,
        spec=run.spec,
        payloads=[*files, args.history, *run.write_more()],
        inputs={
            "train": args.templated / "train.parquet",
            "validation": args.templated / "validation.parquet",
            "model": args.model / START_SUMS,
            **run.texts,
            **({"prompts": run.prompts} if run.prompts else {}),
        },
        counts=counts,
        packages=run.packages,
        base=run.base,
        dataset=run.templated["dataset"],
        dtype=run.dtype,
        device="cuda" if torch.cuda.is_available() else "cpu",
        processes=trainer.args.world_size,
        threads=torch.get_num_threads(),
        tokenizer_sha256=run.digests["tokenizer_sha256"],
    )


def put_adapter(run: Any, trainer: Any, kept: Path) -> None:
    """Put the saved weights where the run's result is, as others read them."""
    if moves_weights(run.spec):
        convert_moved(trainer.model, kept, run.folder)
    tidy_adapter(kept, run.base["name"])
    shutil.rmtree(run.args.adapter, ignore_errors=True)
    make_readable(kept)
    kept.replace(run.args.adapter)
