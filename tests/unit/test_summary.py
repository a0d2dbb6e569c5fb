import csv
import json
import math

import pytest

import summarize_results
from report_fixture import PLANTED, SPEC, write_results
from sftflow.measured import measurements, number
from sftflow.spreadsheets import inert
from sftflow.stage import StageError
from sftflow.summary import COLUMNS, NOT_MEASURED, Measurement, read_summary, with_gaps
from sftflow.summary import write_summary as write


def summarize(results):
    path = results / "summary.csv"
    args = ["--spec", json.dumps(SPEC), "--results", str(results), "--summary", str(path)]
    summarize_results.main(args)
    return path


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "results")


def test_every_measurement_is_one_row(results):
    with summarize(results).open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    table = {(r["model"], r["group"], r["metric"]): r for r in rows}
    assert len(table) == len(rows)
    one = table["support", "tickets", "tickets_json.exact_match"]
    # sqrt(0.96 * 0.04 / 199) = 0.013891
    assert (one["kind"], one["value"], one["stderr"][:8], one["n"]) == (
        "tuned",
        "0.96",
        "0.013891",
        "200",
    )
    assert table["tiny", "scores", "tickets.json_valid"]["value"] == "0.035"
    assert table["tiny", "loss", "text.general"]["value"] == "2.31"
    key = "tickets.tiny.0a1b2c3d"
    gap = table["support", "loss", f"gap.{key}"]
    assert float(gap["value"]) == pytest.approx(0.117 - 0.104)
    assert float(gap["stderr"]) == pytest.approx(0.02 * math.sqrt(2))
    assert table["support", "memorisation", f"train_exact.{key}"]["value"] == "0.8"
    assert table["tiny", "memorisation", f"validation_prefix_tokens.{key}"]["n"] == "100"
    assert table["tiny", "latency", "fit.b_ms"]["value"] == "13.1"
    assert table["tiny", "latency", "fit.k_ms_per_token[c4]"]["stderr"] == "0.02"
    assert table["tiny", "latency", "ttft_ms.p95[p128,o64,c1]"]["stderr"] == ""
    assert table["tiny", "latency", "ttft_ms.p50[r8.5]"]["n"] == "12"
    assert table["tiny", "latency", "server.start_s"]["value"] == "21.5"
    assert ("tiny", "latency", "server.gpu_memory_mib") not in table
    # of ten requests one is at the p99, 1.31 times the median of 19.5 ms: under the limit of 30
    assert table["tiny", "latency", "slo_attainment[p128,o64,c1]"]["value"] == "1.0"
    assert table["tiny", "latency", "slo_attainment[r8.5]"]["value"] == "0.0"
    assert table["tiny", "latency", "goodput_per_s[r2]"]["value"] == "5.0"  # 10 in 2 s
    assert table["tiny", "latency", "goodput.highest_rate_per_s"]["value"] == "2.0"


def test_the_same_results_give_the_same_bytes(results):
    assert summarize(results).read_bytes() == summarize(results).read_bytes()


def test_what_is_not_there_is_an_empty_cell_and_never_0(results):
    (results / "eval/support/benchmark/tickets.json").unlink()
    (results / "eval/support/latency.json").unlink()
    (results / "eval/tiny/latency.json").unlink()
    rows = {(r.model, r.group, r.metric): r for r in read_summary(summarize(results))}
    gap = rows["support", "tickets", "tickets_intent.acc"]
    assert (gap.kind, gap.value, gap.stderr, gap.n) == ("tuned", None, None, None)
    assert rows["support", "latency", NOT_MEASURED].value is None
    assert rows["tiny", "latency", NOT_MEASURED].value is None


def test_a_set_that_was_not_asked_of_a_model_is_no_gap():
    def row(model, metric):
        return Measurement(model, "base", "scores", metric, 1.0)

    measured = [row("base", "a.acc"), row("base", "b.acc"), row("tuned", "a.acc")]
    assert with_gaps(measured, [row("tuned", "a.")]) == measured
    gaps = with_gaps(measured, [row("tuned", "b.")])[len(measured) :]
    assert [(g.model, g.metric, g.value) for g in gaps] == [("tuned", "b.acc", None)]


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("scores.json", "{", "can't be read as JSON"),
        ("scores.json", "[]", "not a JSON object"),
        ("scores.json", "{}", "does not have the shape"),
        ("latency.json", '{"cells": [{}]}', "does not have the shape"),
        ("loss.json", '{"losses": {"text.a": {"value": "low"}}}', "does not have the shape"),
        ("benchmark/tickets.json", '{"tasks": 3}', "does not have the shape"),
    ],
)
def test_a_malformed_file_is_named_in_one_sentence(results, path, text, said):
    (results / "eval/tiny" / path).write_text(text)
    with pytest.raises(StageError, match=said) as error:
        measurements(results, SPEC["models"][0], SPEC["slo"])
    assert path in str(error.value)
    assert "\n" not in str(error.value)


def test_only_numbers_are_figures():
    assert number(3) == 3.0
    assert number(None) is None
    assert number(float("nan")) is None
    for wrong in (True, "0.5", [1]):
        with pytest.raises(TypeError):
            number(wrong)


def test_text_cells_can_not_start_a_formula(tmp_path):
    row = Measurement("m", "base", "=cmd()", "@SUM(1)", -0.5, None, None)
    write(tmp_path / "summary.csv", [row])
    assert (tmp_path / "summary.csv").read_text().splitlines()[
        1
    ] == "m,base,'=cmd(),'@SUM(1),-0.5,,"


@pytest.mark.parametrize("text", ["=1", " =1", "\n=1", "\t1", "＝1", "＠SUM(1)", "\u3000-1"])
def test_what_a_spreadsheet_would_run_is_told_to_be_text(text):
    assert inert(text) == f"'{text}"


@pytest.mark.parametrize("text", ["1", " 1", "a=1", "<b>", "'=1", ""])
def test_other_text_stays(text):
    assert inert(text) == text


def test_text_with_commas_quotes_and_markup_comes_back_as_it_was(tmp_path):
    row = Measurement("m", "tuned", f'a,"b"\n{PLANTED}', "x", 0.1 + 0.2, 1e-9, 7)
    write(tmp_path / "summary.csv", [row])
    assert read_summary(tmp_path / "summary.csv") == [row]


@pytest.mark.parametrize(
    "line", ["m,base,g,x,high,,", "m,base,g,x,nan,,", "m,other,g,x,1,,", "m,base,g,x"]
)
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "summary.csv"
    path.write_text(",".join(COLUMNS) + "\n" + line + "\n")
    with pytest.raises(StageError, match="line 2"):
        read_summary(path)
