import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sftflow.goodput import goodput, highest_rate, limits, model_goodput
from sftflow.stage import StageError

SLO = {"ttft_ms": 200, "tpot_ms": 30, "e2e_ms": None, "attainment": 0.5}


def request(ttft, tpot, e2e=500.0):
    return {"ttft_ms": ttft, "tpot_ms": tpot, "e2e_ms": e2e}


def test_a_good_request_is_within_all_limits_at_once():
    rows = [request(150, 20), request(250, 20), request(150, 40), request(200, 30)]
    found = goodput(rows, 4.0, limits(SLO))
    assert (found["share"], found["n"], found["requests_per_s"]) == (0.5, 4, 0.5)
    assert found["stderr"] == pytest.approx((0.25 / 3) ** 0.5)


def test_a_single_token_has_no_time_per_further_token_to_miss():
    assert goodput([request(150, None)], 1.0, limits(SLO))["share"] == 1.0


def test_the_highest_rate_is_below_the_first_that_fails():
    rates = [{"rate_per_s": r} for r in (4, 1, 2, 8)]
    shares = [{"share": s} for s in (0.4, 1.0, 0.9, 0.6)]
    assert highest_rate(rates, shares, 0.9) == 2
    assert highest_rate(rates, shares, 0.5) == 2  # at 8 it was luck
    assert highest_rate(rates[:1], shares[:1], 0.9) is None


def test_cells_and_rates_are_counted_from_the_kept_requests(tmp_path):
    rows = [
        {"cell": 0, "rate_per_s": None, **request(100, 10)},
        {"cell": 1, "rate_per_s": None, **request(300, 10)},
        {"cell": None, "rate_per_s": 2.5, **request(100, 10)},
        {"cell": None, "rate_per_s": 2.5, **request(100, 90)},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "latency_requests.parquet")
    latency = {
        "cells": [{"wall_s": 1.0}, {"wall_s": 1.0}],
        "rates": [{"wall_s": 0.5, "rate_per_s": 2.5}],
    }
    found = model_goodput(tmp_path, latency, SLO)
    assert [cell["share"] for cell in found["cells"]] == [1.0, 0.0]
    assert found["rates"][0]["requests_per_s"] == 2.0  # one good request in half a second
    assert found["highest_rate_per_s"] == 2.5
    assert found["limits"] == {"ttft_ms": 200, "tpot_ms": 30}


def test_no_limit_reads_nothing_and_a_missing_file_is_named(tmp_path):
    latency = {"cells": [], "rates": []}
    assert model_goodput(tmp_path, latency, {**SLO, "ttft_ms": None, "tpot_ms": None}) is None
    with pytest.raises(StageError, match=r"latency_requests.parquet can't be read"):
        model_goodput(tmp_path, latency, SLO)
