"""What was measured before is kept, whatever is made again, and changes no byte by itself."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html

import build_report
import keep_history
import tidy
from report_fixture import PLANTED, SPEC, write_results
from sftflow.summary import Measurement, write_summary
from sftflow.versionlog import MOST_LINES, MOST_METRICS, metrics_of, reason, with_present
from sftflow.versionsection import better, called, course, followed

MODEL = {
    "name": "m",
    "run": "m",
    "datasets": ["d"],
    "suites": {"s": "0a"},
    "texts": {"general": "0b"},
}


def project(folder, **changes):
    """Write what the stages leave of a model with these settings and figures."""
    said = {"rate": 0.001, "rows": 100, "train": "t0", "test": "e0", "exact": 0.5, **changes}
    settings = {"run": "m", "method": "lora", "training": {"learning_rate": said["rate"]}}
    manifest = {
        "schema": 1,
        "settings": settings,
        "inputs": {"model": "x", "train": said["train"]},
        "outputs": {"w": {"sha256": f"{said['rate']}{said['train']}", "bytes": 1}},
        "counts": {"rows": said["rows"]},
        "base": {"name": "tiny", "sha256": said.get("base", "b0")},
        "dataset": "d",
        "versions": {"torch": said.get("torch", "2.13")},
    }
    for path in ("runs/m", "datasets/d"):
        (folder / path).mkdir(parents=True, exist_ok=True)
    (folder / "runs/m/manifest.json").write_text(json.dumps(manifest))
    (folder / "datasets/d/SHA256SUMS").write_text(f"{said['test']}  test.parquet\n")
    rows = [
        Measurement("m", "tuned", "scores", "d.exact_match", said["exact"], 0.02, 200),
        Measurement("m", "tuned", "latency", "fit.k_ms_per_token", said.get("k", 4.0), 0.1, 72),
        Measurement("m", "tuned", "latency", "ttft_ms.p50[p32,o16,c1]", 20.0, None, 8),
        Measurement("base", "base", "scores", "d.exact_match", 0.1, 0.02, 200),
    ]
    write_summary(folder / "summary.csv", rows)
    return folder


def kept(folder, model=MODEL):
    """Run the stage; return what it says of the model."""
    options = ["--results", folder, "--log_folder", folder / "history"]
    options += ["--history", folder / "history.json"]
    keep_history.main(["--spec", json.dumps({"models": [model]}), *map(str, options)])
    return json.loads((folder / "history.json").read_text())["models"]["m"]


def test_versions_follow_each_other_with_what_changed(tmp_path):
    assert kept(project(tmp_path))["past"] == []
    kept(project(tmp_path, rate=0.002, exact=0.6))
    said = kept(project(tmp_path, rate=0.002, rows=150, train="t1", exact=0.7))
    assert [one["metrics"]["scores/d.exact_match"][0] for one in said["past"]] == [0.5, 0.6]
    assert [one["reason"] for one in said["past"]] == [
        "first measured",
        "training.learning_rate: 0.001 -> 0.002",
    ]
    assert said["now"]["reason"] == "training rows: 100 -> 150"
    assert said["past"][0]["metrics"].keys() == {
        "scores/d.exact_match",
        "latency/fit.k_ms_per_token",
    }
    assert len({one["version"] for one in [*said["past"], said["now"]]}) == 3


def test_the_way_back_is_a_version_too_and_has_its_old_name(tmp_path):
    first = kept(project(tmp_path))["now"]["version"]
    kept(project(tmp_path, rate=0.002, exact=0.6))
    said = kept(project(tmp_path))
    assert said["now"]["version"] == first == said["past"][0]["version"]
    assert len(said["past"]) == 2


def test_nothing_is_added_by_a_rerun_and_a_new_measurement_takes_the_place(tmp_path):
    kept(project(tmp_path))
    kept(project(tmp_path, rate=0.002, exact=0.6))
    log = tmp_path / "history/m.jsonl"
    before, view = log.read_bytes(), (tmp_path / "history.json").read_bytes()
    (tmp_path / "history.json").unlink()
    kept(tmp_path)
    assert log.read_bytes() == before
    assert (tmp_path / "history.json").read_bytes() == view
    again = kept(project(tmp_path, rate=0.002, exact=0.6, k=4.2))  # the machine was busier
    assert len(log.read_text().splitlines()) == 3
    assert len(again["past"]) == 1
    third = kept(project(tmp_path, rate=0.003))
    assert third["past"][1]["metrics"]["latency/fit.k_ms_per_token"][0] == 4.2
    assert third["past"][1]["reason"] == "training.learning_rate: 0.001 -> 0.002"


def test_the_same_work_elsewhere_has_the_same_bytes_and_a_copy_goes_on(tmp_path):
    one, other = project(tmp_path / "a/results"), project(tmp_path / "b/further/results")
    assert kept(one) == kept(other)
    assert (one / "history.json").read_bytes() == (other / "history.json").read_bytes()
    copy = shutil.copytree(one, tmp_path / "copy")
    assert len(kept(project(copy, rate=0.002))["past"]) == 1
    assert len((one / "history/m.jsonl").read_text().splitlines()) == 1


def test_a_clean_up_leaves_the_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept(project(tmp_path / "results"))
    (tmp_path / "a.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    entry = {"base": "t", "dataset": "d", "max_length": 64}
    config = {
        "sources": {"a": {"path": "a.jsonl"}},
        "datasets": {"d": {"sources": ["a"]}},
        "bases": {"t": {"template": "chatml", "make": {}}},
        "runs": {"other": entry},
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(config))
    tidy.main(["--configfile", "mine.yaml", "--yes"])
    assert not (tmp_path / "results/runs/m").exists()
    assert (tmp_path / "results/history/m.jsonl").exists()


def test_a_line_that_is_no_record_stays_where_it_is(tmp_path):
    kept(project(tmp_path))
    log = tmp_path / "history/m.jsonl"
    log.write_text(log.read_text() + 'half a li\n{"version": 1}\n')
    assert len(kept(project(tmp_path, rate=0.002))["past"]) == 1
    assert log.read_text().splitlines()[1:3] == ["half a li", '{"version": 1}']


def test_a_log_is_bounded(tmp_path):
    log = tmp_path / "m.jsonl"
    lines = [json.dumps({"n": n}) for n in range(MOST_LINES + 7)]
    log.write_text("".join(f"{line}\n" for line in lines))
    made = {"settings": {}}
    with_present(log, made, {}, "2026-01-01 00:00")
    left = log.read_text().splitlines()
    assert len(left) == MOST_LINES
    assert left[:-1] == lines[8:]
    many = [Measurement("m", "tuned", "s", f"t{i}.acc", 0.5, None, 9) for i in range(99)]
    assert len(metrics_of(many)) == MOST_METRICS


MADE = {
    "settings": {"lora": {"r": 8}},
    "base": {"name": "tiny", "sha256": "b0"},
    "dataset": "d",
    "rows": 10,
    "data": "t0",
    "weights": "w0",
    "versions": {"torch": "2.13"},
    "tests": {"d": "e0"},
    "suites": {"s": "0a"},
    "texts": {"general": "0b"},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": "w1"}, "other code"),
        ({"data": "t1"}, "other training rows"),
        ({"base": {"name": "tiny", "sha256": "b1"}}, "the start model's weights"),
        ({"base": {"name": "large", "sha256": "b1"}}, "base: tiny -> large"),
        ({"dataset": "e", "data": "t1", "rows": 9}, "dataset: d -> e; training rows: 10 -> 9"),
        ({"versions": {"torch": "2.14"}}, "package torch: 2.13 -> 2.14"),
        ({"tests": {"d": "e1"}}, "test rows of d changed"),
        ({"suites": {"s": "1", "u": "1"}}, "questions of s changed; questions of u are new"),
        ({"texts": {"general": "1"}}, "words of text general changed"),
    ],
)
def test_what_changed_is_said(change, said):
    assert reason(MADE, {**MADE, **change}) == said


@settings(deadline=None, max_examples=40)  # each line is synced to the disk
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
def test_the_log_holds_the_order_in_which_versions_were_measured(tmp_path_factory, order):
    log = tmp_path_factory.mktemp("log") / "m.jsonl"
    for name in order:
        made = {**MADE, "data": name}
        found = with_present(log, made, {"s/acc": [ord(name), None, 1]}, "2026-01-01 00:00")
    expected = [name for i, name in enumerate(order) if not i or order[i - 1] != name]
    assert [one["made"]["data"] for one in found] == expected


def test_the_most_telling_measures_are_followed():
    names = ["latency/fit.b_ms", "loss/text.general", "scores/d.ended", "scores/d.exact_match"]
    names += ["s/t.acc", "scores/d.json_valid"]
    now = {"metrics": dict.fromkeys(names)}
    before = {"metrics": dict.fromkeys([*names, "gone/x"])}
    expected = ["scores/d.exact_match", "s/t.acc", "loss/text.general", "latency/fit.b_ms"]
    assert followed([before, now], None) == expected
    assert followed([before, now], "scores/d.ended")[0] == "scores/d.ended"
    assert followed([{"metrics": {}}, now], None) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("s/t.acc", "t.acc (s); more is better"),
        ("loss/text.general", "Loss on general text; less is better"),
        ("scores/d.repetition", "d.repetition (scores); less is better"),
        ("latency/fit.k_ms_per_token", "k (ms per token); less is better"),
    ],
)
def test_a_plot_says_what_it_shows_and_which_way_is_better(name, said):
    assert f"{called(name)}; {better(name)}" == said


@pytest.mark.parametrize(("error", "layers"), [(0.1, 3), (None, 2)])
def test_bars_are_drawn_only_where_an_error_is_known(error, layers):
    """Of none, Vega writes a warning on the browser's console."""
    version = {"version": "aa", "date": None, "reason": "", "metrics": {"s/t.acc": [0.5, error, 9]}}
    assert len(course([version, version], "s/t.acc")["layer"]) == layers


def test_the_page_draws_a_measure_over_versions(tmp_path):
    results = write_results(tmp_path / "results")
    rows = [
        Measurement(*key, 0.5, 0.01, 200)
        for key in (
            ("tiny", "base", "scores", "tickets.exact_match"),
            ("support", "tuned", "scores", "tickets.exact_match"),
        )
    ]
    write_summary(results / "summary.csv", rows)

    def built():
        page = results / "report.html"
        common = ["--spec", json.dumps(SPEC), "--results", str(results)]
        build_report.main([*common, "--html", str(page)])
        return page.read_text(encoding="utf-8")

    (results / "history.json").unlink()
    without = built()
    alone = {"models": {"support": {"past": [], "now": {"version": "aa", "reason": None}}}}
    (results / "history.json").write_text(json.dumps(alone))
    assert built() == without
    past = {"version": "0a1b2c3d", "date": "2026-01-02 03:04", "reason": f"lora.r: 8 {PLANTED}"}
    past["metrics"] = {"scores/tickets.exact_match": [0.25, 0.03, 200]}
    now = {"version": "4e5f6a7b", "reason": "training rows: 90 -> 100"}
    said = {"models": {"support": {"past": [past], "now": now}}}
    (results / "history.json").write_text(json.dumps(said))
    tree = html.fromstring(built())
    (section,) = tree.xpath("//section[@id='history']")
    rows = [[cell.text_content() for cell in row] for row in section.xpath(".//tbody/tr")]
    assert rows == [
        ["2", "4e5f6a7b", "now", "training rows: 90 -> 100", "0.500 ± 0.010"],
        ["1", "0a1b2c3d", "2026-01-02 03:04", f"lora.r: 8 {PLANTED}", "0.250 ± 0.030"],
    ]
    (plot,) = section.xpath(".//script[@data-plot]")
    spec = json.loads(plot.text)
    values = (spec if "data" in spec else spec["layer"][1])["data"]["values"]
    assert [(row["version"], row["value"]) for row in values] == [
        ("1", 0.25),
        ("2 (now)", 0.5),
    ]
    (caption,) = section.xpath(".//figcaption/text()")
    assert caption == "tickets.exact_match (scores); more is better"
    assert section.xpath(".//img") == []
