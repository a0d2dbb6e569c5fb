"""The difference of two models' losses per token, from what each makes of the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.paired import Paired, paired_sums
from sftflow.records import read_rows
from sftflow.sums import Sums

#: Rows are exchanged at random between the models: with fewer, no p-value could be small.
FEWEST = 10

Table = Mapping[str, Sequence[tuple[float, int]]]  # loss -> (nats, tokens) of each row


def read_loss_rows(path: Path, names: Sequence[str]) -> Table:
    """Return the rows of these losses in their order."""
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in names}
    for row in read_rows(path):
        if row["loss"] in found:
            found[row["loss"]].append((row["nats"], row["tokens"]))
    return found


def paired_losses(names: Sequence[str], against: Path, model: Path) -> list[Paired]:
    """Return the paired difference of each loss per token that both have on the same tokens.

    Models with different tokenizers have other tokens; their losses per token are no pair.
    """
    if not names:
        return []
    import numpy as np

    first, second = read_loss_rows(against, names), read_loss_rows(model, names)
    measures = []
    for name in names:
        one, other = first[name], second[name]
        if [n for _, n in one] != [n for _, n in other]:
            continue
        tables = [np.array([row for row in side if row[1]], dtype=float) for side in (one, other)]
        if len(tables[0]) >= FEWEST:
            sums = [Sums(table, _per_token) for table in tables]
            measures.append(paired_sums("loss", name, *sums))
    return [measure for measure in measures if measure is not None]


def _per_token(sums: Any) -> Any:
    """Return nats over tokens of sums (..., 2)."""
    return sums[..., 0] / sums[..., 1]
