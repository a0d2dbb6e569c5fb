"""The embedded default: raw data in, a measured model out."""

from __future__ import annotations

import json
import subprocess

import pandas as pd
import pyarrow.parquet as pq
import pytest
from browser import visit

from workflow import finish, sums

pytestmark = pytest.mark.e2e
BASE, TUNED = "tiny", "tickets-lora"


@pytest.fixture(scope="module")
def summary(finished):
    return pd.read_csv(finished / "results/summary.csv")


def value(summary, model, group, metric):
    found = summary.query("model == @model and group == @group and metric == @metric")
    assert len(found) == 1, summary[["model", "group", "metric"]].to_string()
    return found["value"].item()


def test_the_contract_of_files_is_kept(finished):
    results = finished / "results"
    for name in [
        *(f"sources/{s}/{f}" for s in ("crm", "mail", "chat") for f in RAW_FILES),
        *(f"datasets/tickets/{f}" for f in DATASET_FILES),
        *(f"runs/{TUNED}/{f}" for f in ("adapter", "history.csv", "samples", "manifest.json")),
        *(f"models/{m}/{f}" for m in (BASE, TUNED) for f in ("config.json", "manifest.json")),
        *(f"eval/{m}/{f}" for m in (BASE, TUNED) for f in EVAL_FILES),
        "summary.csv",
        "report.html",
    ]:
        assert (results / name).exists(), name
    (key,) = (results / "templated").iterdir()
    for name in ("train.parquet", "validation.parquet", "manifest.json", "preview.html"):
        assert (key / name).is_file()
    assert list((results / "trackers/tensorboard").glob(f"{TUNED}-*/events.out.tfevents.*"))
    columns = {"id", "input_ids", "labels", "length"}
    assert columns <= set(pq.read_schema(key / "train.parquet").names)


RAW_FILES = ("records.parquet", "rejected.parquet", "manifest.json")
DATASET_FILES = (
    "train.parquet",
    "validation.parquet",
    "test.parquet",
    "rejected.parquet",
    "manifest.json",
    "report.html",
)
EVAL_FILES = ("latency.json", "benchmark/tickets.json", "generations.jsonl", "scores.json")


def test_the_tuned_model_may_ship(finished):
    assert set(finish(finished, "gate").jobs()) == {"gate"}
    said = json.loads((finished / "results/gates.json").read_text())["models"][TUNED]
    assert said["verdict"] == "pass", said
    pairs = json.loads((finished / f"results/eval/{TUNED}/against/{BASE}.json").read_text())
    exact = next(m for m in pairs["measures"] if m["metric"] == "tickets.exact_match")
    assert exact["low"] > 0.5 and exact["p_holm"] < 1e-9


def test_the_base_fails_and_the_tuned_model_does_not(summary):
    """Measured twice: through lm-eval, and on our own generations."""
    for group, metric in [
        ("tickets", "tickets_json.exact_match"),
        ("scores", "tickets.exact_match"),
    ]:
        assert value(summary, BASE, group, metric) <= 0.2
        assert value(summary, TUNED, group, metric) >= 0.9
    assert value(summary, TUNED, "scores", "tickets.json_valid") == 1.0


def test_what_was_forgotten_is_in_the_summary(summary):
    for model in (BASE, TUNED):
        assert 0 < value(summary, model, "loss", "text.general") < 10


def test_the_training_is_healthy_and_a_low_loss_is_no_fault(finished):
    said = json.loads((finished / f"results/runs/{TUNED}/verdicts.json").read_text())
    assert [one["name"] for one in said["verdicts"]] == ["healthy"]
    assert said["verdicts"][0]["evidence"]["last_loss"] < 0.5
    assert "the prompts decide the answers" in said["notes"][0]


def test_base_and_tuned_are_measured_by_the_same_rules(summary):
    def metrics(model):
        rows = summary.query("model == @model and group != 'loss'")
        return set(zip(rows["group"], rows["metric"], strict=True))

    assert metrics(BASE) == metrics(TUNED)


def test_no_raw_row_is_lost(finished):
    for source in ("crm", "mail", "chat"):
        folder = finished / "results/sources" / source
        counts = json.loads((folder / "manifest.json").read_text())["counts"]
        kept = pq.read_metadata(folder / "records.parquet").num_rows
        rejected = pq.read_table(folder / "rejected.parquet").to_pandas()
        assert counts["rows_in"] == kept + len(rejected)
        assert rejected["reason"].notna().all()
        assert len(rejected) > 0  # the data are deliberately dirty


def test_latency_keeps_every_request_and_fits_a_line(finished):
    folder = finished / "results/eval" / TUNED
    latency = json.loads((folder / "latency.json").read_text())
    requests = pd.read_parquet(folder / "latency_requests.parquet")
    assert len(latency["cells"]) == 12
    assert requests["ok"].all()
    assert len(requests) >= 12 * 8
    for cell in latency["cells"]:
        for name in ("ttft_ms", "tpot_ms", "e2e_ms"):
            assert 0 < cell[name]["p50"] <= cell[name]["p95"] <= cell[name]["p99"]


def test_the_report_opens_in_a_browser_with_every_plot_drawn(finished):
    with visit(finished / "results/report.html") as seen:
        assert not seen.faults
        assert [r for r in seen.requests if not r.startswith(("file:", "data:", "blob:"))] == []


def test_sums_verify(finished):
    for path in (finished / "results").glob("**/SHA256SUMS"):
        check = ["sha256sum", "--check", "--strict", "--quiet", path.name]
        assert subprocess.run(check, cwd=path.parent, check=False).returncode == 0, path


def test_a_second_run_does_nothing(finished):
    again = finish(finished)
    assert not again.jobs()
    assert "Nothing to be done" in again.text()


def test_data_made_again_on_one_core_are_the_same_bytes(finished, tmp_path):
    finish(tmp_path, "data", cores="1")
    assert sums(tmp_path).items() <= sums(finished).items()


def test_the_key_of_the_server_is_nowhere(finished):
    """Nothing that is kept holds an API key, and no endpoint file stays behind."""
    assert not list(finished.glob("results/eval/*/server.json"))
    for path in (finished / "results/eval").glob("*/latency.json"):
        assert "api_key" not in json.dumps(json.loads(path.read_text()))
