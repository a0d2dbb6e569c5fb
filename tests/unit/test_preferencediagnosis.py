"""What is said of a training on pairs, and how its page shows it."""

import math

import pytest
from lxml import html

import build_report
import summarize_results
from report_fixture import SPEC, write_results
from sftflow.course import Course, Point
from sftflow.manifests import canonical_json, write_json
from sftflow.preferencediagnosis import preference_notes, preference_verdicts
from sftflow.preferencereport import curves
from sftflow.signs import Run
from sftflow.stage import StageError
from sftflow.summary import read_summary


def measured(accuracy=0.8, pairs=50, margin=0.4, chosen=0.1):
    def said(value, stderr=0.05):
        return {"value": value, "stderr": stderr, "n": pairs}

    error = math.sqrt(accuracy * (1 - accuracy) / (pairs - 1))
    return {
        "pairs": pairs,
        "reward_accuracy": said(accuracy, error),
        "reward_margin": said(margin),
        "chosen_reward": said(chosen),
        "rejected_reward": said(chosen - margin),
    }


def run(train=(0.69, 0.6, 0.5, 0.45), held=(0.65, 0.6, 0.58), **more):
    loss = [Point(n, value) for n, value in enumerate(train, start=1)]
    validation = [Point(n, value) for n, value in enumerate(held, start=1)]
    return Run(course=Course(loss, validation), **more)


def names(*args):
    return [verdict.name for verdict in preference_verdicts(*args)]


def test_a_run_that_ranks_held_out_pairs_right_is_healthy():
    (verdict,) = preference_verdicts(run(), measured())
    assert verdict.name == "healthy"
    assert verdict.sentence == "80% of 50 validation pairs are ranked right, by a margin of 0.4."


def test_no_more_than_chance_is_underfit():
    assert names(run(), measured(accuracy=0.56)) == ["underfit"]
    assert names(run(), measured(accuracy=0.3)) == ["underfit"]
    assert names(run(), measured(accuracy=0.56, pairs=5000)) == ["healthy"]


def test_few_pairs_say_nothing():
    assert names(run(), measured(accuracy=0.4, pairs=5)) == []
    nothing = {"value": None, "stderr": None, "n": 0}
    empty = {name: nothing for name in measured() if name != "pairs"}
    assert names(run(), {**empty, "pairs": 0}) == []
    assert preference_notes({**empty, "pairs": 0}) == []


def test_a_loss_on_pairs_that_turned_is_overfit():
    turned = run(held=(0.6, 0.5, 0.55, 0.7))
    assert names(turned, measured()) == ["overfit"]
    (verdict,) = preference_verdicts(turned, measured())
    assert "lowest (0.5) at step 2 and rose to 0.7" in verdict.sentence
    assert "raise dpo.beta" in verdict.advice
    (kept,) = preference_verdicts(run(held=(0.6, 0.5, 0.55, 0.7), kept_step=2), measured())
    assert "weights of step 2 were kept" in kept.advice


def test_a_loss_that_climbs_has_diverged():
    assert names(run(train=(0.69, 0.8, 1.5, 3.0, 4.0, 5.0)), measured()) == ["diverged"]


def test_preferred_answers_that_became_less_likely_are_no_fault_but_told():
    assert names(run(), measured(chosen=-0.5)) == ["healthy"]
    (note,) = preference_notes(measured(chosen=-0.5))
    assert "reward -0.5" in note
    assert preference_notes(measured(chosen=-0.05)) == []  # within two standard errors


HISTORY = """step,loss,reward_accuracy,reward_margin,eval_reward_accuracy,eval_reward_margin
1,0.69,0.5,0.0,,
2,0.6,0.8,0.4,0.7,0.3
"""


@pytest.fixture
def folder(tmp_path):
    """Return results whose run ``support`` was trained on pairs."""
    results = write_results(tmp_path / "results")
    write_json(results / "runs/support/preferences.json", measured())
    (results / "runs/support/history.csv").write_text(HISTORY)
    return results


def spec_of_pairs():
    models = [
        {**model, **({"preferences": True} if model["name"] == "support" else {})}
        for model in SPEC["models"]
    ]
    runs = {"support": {**SPEC["runs"]["support"], "dpo": {"beta": 0.1, "rpo_alpha": None}}}
    return {**SPEC, "models": models, "runs": runs}


def test_rewards_are_in_the_summary_and_on_the_page(folder, tmp_path):
    page = tmp_path / "report.html"
    common = ["--spec", canonical_json(spec_of_pairs()), "--results", str(folder)]
    summarize_results.main([*common, "--summary", str(folder / "summary.csv")])
    rows = {r.metric: r for r in read_summary(folder / "summary.csv") if r.group == "preferences"}
    assert {r.model for r in rows.values()} == {"support"}
    assert (rows["reward_accuracy"].value, rows["reward_accuracy"].n) == (0.8, 50)
    assert set(rows) == set(measured()) - {"pairs"}
    build_report.main([*common, "--html", str(page)])
    tree = html.fromstring(page.read_text())
    (table,) = tree.xpath("//h3[.='Preference pairs']/following::table[1]")
    (line,) = table.xpath(".//tbody/tr")
    said = [" ".join(cell.text_content().split()) for cell in line]
    assert said[:5] == ["support", "tiny", "beta 0.1", "50", "0.800 ± 0.057"]
    drawn = tree.xpath("//script[starts-with(@data-plot, 'plot-preferences')]/@data-plot")
    assert len(drawn) == 2


def test_curves_are_those_of_the_history(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(HISTORY)
    found = curves(path)
    assert found["reward_margin"] == [
        {"step": 1, "curve": "training", "value": 0.0},
        {"step": 2, "curve": "training", "value": 0.4},
        {"step": 2, "curve": "validation", "value": 0.3},
    ]
    path.write_text(HISTORY.replace("0.8,", "x,"))
    with pytest.raises(StageError, match="line 3"):
        curves(path)
