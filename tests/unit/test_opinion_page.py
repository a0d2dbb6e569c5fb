"""Judges, people and examples in the prompt: in the summary, and on the page."""

import json

import pytest
from lxml import html
from test_report import built, visible

from opinion_fixture import OPINIONS, PAIR, write_opinions
from report_fixture import PLANTED
from sftflow.comparison import compare, headline
from sftflow.incontextreport import in_context_findings
from sftflow.opinionpage import bias_notes
from sftflow.summary import Measurement, read_summary


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = write_opinions(tmp_path_factory.mktemp("opinions") / "results")
    built(folder, OPINIONS)
    return folder


@pytest.fixture(scope="module")
def text(results):
    return visible((results / "report.html").read_text(encoding="utf-8"))


def test_every_opinion_is_a_row_of_the_summary(results):
    rows = {(m.model, m.group, m.metric): m for m in read_summary(results / "summary.csv")}
    rate = rows["support", "judged", "mild.win_rate[tiny]"]
    # 20 wins, 4 losses, 10 ties; two pairs without a verdict
    assert (rate.value, rate.n, rate.kind) == (pytest.approx(25 / 34), 34, "tuned")
    assert rows["tiny", "people", "panel.fluency"].n == 8
    assert rows["tiny+icl4", "scores", "tickets.exact_match"].value == 0.41
    assert ("tiny", "judged", "mild.win_rate[tiny]") not in rows


def test_the_page_says_who_won_and_how_far_to_believe_it(text):
    assert "support against tiny, judged by mild (large)" in text
    assert "all 34 74%" in text
    assert "The judge is one of the two models" in text
    assert "2 of 36 pairs have no verdict" in text
    assert "Both orders gave the same verdict on 71% of 34 pairs" in text
    assert "Position bias: of the single verdicts for a side, 65% were for the first place" in text
    assert f"good {PLANTED}" in text
    assert "no verdict (unreadable)" in text


def test_the_first_screen_has_the_judge_s_word(text):
    assert "Judge mild: win rate 74% [57%, 85%] against tiny on 34 prompts." in text
    assert "measures without any training" not in text


def test_examples_that_beat_the_tuning_are_told_first():
    said = [{"model": "m", "base": "b", "examples": 4, "tally": {"worse": 2}}]
    (line,) = in_context_findings(said, "m")
    assert line["text"] == (
        "Better on 2 measures without any training: b with 4 examples in the prompt."
    )
    assert in_context_findings(said, "other") == []


def test_the_page_shows_what_people_scored_and_whether_they_agree(text):
    assert "Scored by people: panel" in text
    assert "by 2 raters" in text
    assert "Krippendorff's alpha" in text
    assert "Scores by people, 1 to 5 panel.accuracy" in text


def test_the_tuned_model_stands_beside_examples_in_the_prompt(text):
    assert "support and tiny with 4 examples in the prompt" in text
    assert "support is better than that on 2 measures, worse on 0" in text
    assert "1 of 30 prompts had room for fewer examples." in text


def test_texts_are_left_out_where_that_is_wished(results, tmp_path):
    page = built(results, {**OPINIONS, "redact_samples": True})
    assert f"good {PLANTED}" not in visible(page)
    assert html.fromstring(page).xpath("//img") == []


def test_length_bias_is_named_only_where_it_is_plain(results):
    said = json.loads((results / "judged/mild" / PAIR / "win_rate.json").read_text())
    said["all"]["length"] = {
        "longer_wins": {"value": 1.0, "low": 0.9, "high": 1.0, "n": 30},
        "rate_when_longer": {"value": 1.0, "low": 0.8, "high": 1.0, "n": 15},
        "rate_when_shorter": {"value": 0.0, "low": 0.0, "high": 0.2, "n": 15},
    }
    (note,) = [n["text"] for n in bias_notes(said) if "longer answer" in n["text"]]
    assert note.startswith("Length bias: The longer answer won 100% of 30 decided pairs.")
    said["all"]["length"]["rate_when_shorter"]["high"] = 0.85
    (note,) = [n for n in bias_notes(said) if "longer answer" in n["text"]]
    assert note["way"] == ""


def test_what_people_call_accuracy_is_no_headline():
    def one(model, group, metric, value):
        return Measurement(model, "tuned", group, metric, value, 0.01, 50)

    metrics = (("people", "panel.accuracy"), ("scores", "t.bleu"))
    base, tuned = ([one(m, *metric, 1 + v) for metric in metrics] for v, m in enumerate("bt"))
    assert headline(compare(base, tuned), None).metric == "t.bleu"
