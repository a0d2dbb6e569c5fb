"""The rows of a training, and the checks that trainer, tokenizer and rows belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sftflow.masks import IGNORED
from sftflow.modeltokenizers import tokenizer_digests
from sftflow.stage import StageError


def check_same_tokenizer(templated: dict[str, Any], model: Path, tokenizer: Any) -> dict[str, str]:
    """Raise StageError if rows were templated with another tokenizer or chat template."""
    digests = tokenizer_digests(model, tokenizer)
    for key, now in digests.items():
        if templated[key] != now:
            raise StageError(
                f"{key.removesuffix('_sha256')} of {model.name} changed since templating "
                f"({templated[key][:12]} -> {now[:12]}); run template_data again"
            )
    return digests


def load_rows(path: Path):
    """Return a split as a datasets.Dataset, without a copy in some cache."""
    import pyarrow.parquet as pq
    from datasets import Dataset
    from datasets.table import InMemoryTable

    return Dataset(InMemoryTable(pq.read_table(path)))


def check_labels(trainer: Any, rows: Any) -> None:
    """Raise StageError if the trainer lost rows or would train on other tokens than ours.

    A collator that takes every pad token for padding takes the loss off end-of-turn tokens where
    pad is eos; one that does not know padding puts loss on it.
    """
    if len(trainer.train_dataset) != len(rows):
        raise StageError(f"the trainer kept {len(trainer.train_dataset)} of {len(rows)} rows")
    first = list(range(min(len(rows), trainer.args.per_device_train_batch_size)))
    kept = trainer.train_dataset.select(first)
    batch = trainer.data_collator([kept[i] for i in first])
    labels = batch["labels"][:, 1:]  # a row's first token is never predicted
    seen = sorted(labels[labels != IGNORED].tolist())
    meant = sorted(label for i in first for label in rows[i]["labels"][1:] if label != IGNORED)
    if seen != meant or not seen:
        raise StageError(
            f"the first batch trains on {len(seen)} tokens, the templates on {len(meant)}"
            + (", and not on the same ones" if len(seen) == len(meant) else "")
        )
