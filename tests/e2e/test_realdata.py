"""Real files of three kinds go through the whole chain."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from realdata import FILES, ROWS

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("name", FILES)
def test_every_raw_row_is_accounted_for(real, name):
    folder = real / "results/sources" / name
    counts = json.loads((folder / "manifest.json").read_text())["counts"]
    rejected = pq.read_metadata(folder / "rejected.parquet").num_rows
    assert counts["rows_in"] == ROWS[name]
    assert counts["rows_in"] == pq.read_metadata(folder / "records.parquet").num_rows + rejected
    assert rejected <= 0.05 * ROWS[name]


@pytest.mark.parametrize("name", FILES)
def test_it_was_trained_served_and_measured(real, name):
    summary = pd.read_csv(real / "results/summary.csv")
    mine = summary[summary["model"] == f"{name}-lora"]
    assert {"scores", "latency", "loss"} <= set(mine["group"])
    assert mine.query("group == 'loss'")["value"].gt(0).any()
    answers = (real / f"results/eval/{name}-lora/generations.jsonl").read_text().splitlines()
    assert len(answers) == 4


def test_tool_turns_reach_the_tokens(real):
    rows = pq.read_table(real / "results/datasets/toolcalls/train.parquet").to_pylist()
    roles = {m["role"] for row in rows for m in row["messages"]}
    assert "tool" in roles
    assert any(m["tool_calls"] for row in rows for m in row["messages"])
