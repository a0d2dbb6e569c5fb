"""Searches and sweeps on the page: the table, the best one, the parallel coordinates."""

from __future__ import annotations

import json
import math

import pytest
from lxml import html
from test_report import EMPTY, visible

from report_fixture import PLANTED
from sftflow import parallelplot, report, searchsection
from sftflow.stage import StageError

RATE = {"low": 1e-4, "high": 1e-2, "log": True, "step": None}
SPACE = {
    "training.learning_rate": RATE,
    "lora.r": {"choices": [4, 8, 16], "log": False, "step": None},
    "lora.init": {"choices": ["default", PLANTED]},
}


def trial(number, rate, rank, loss, init="default", seconds=2.5):
    diverged = None if loss is not None else f"the loss is nan at step 3 {PLANTED}"
    name = "healthy" if diverged is None else "diverged"
    return {
        "trial": number,
        "round": 1,
        "settings": {"training.learning_rate": rate, "lora.r": rank, "lora.init": init},
        "loss": loss,
        "diverged": diverged,
        "verdicts": [{"name": name, "sentence": diverged or "All is well."}],
        "steps": None if diverged else 40,
        "seconds": seconds,
    }


TRIALS = [
    trial(1, 1e-4, 4, 0.9),
    trial(2, 1e-2, 16, None, PLANTED),
    trial(3, 1e-3, 8, 0.2),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    results = tmp_path_factory.mktemp("searched")
    said = {"run": "support", "sampler": "tpe", "space": SPACE, "best": 3, "trials": TRIALS}
    (results / "runs/support").mkdir(parents=True)
    (results / "runs/support/search.json").write_text(json.dumps(said))
    spec = {"runs": {"support": {"search": {"sampler": "tpe"}}}, "sweeps": {}}
    searches, plots = searchsection.search_section(results, spec, {}, {})
    return report.render({**EMPTY, "searches": searches, "plots": plots})


def test_the_page_has_every_trial_the_best_first(page):
    text = visible(page)
    assert "3 trials, proposed by tpe, of which 1 diverged; support is the one with the" in text
    assert "trial 3. All took 7.50 s." in text
    (table,) = html.fromstring(page).xpath("//table[thead//th[text()='Trial']]")
    rows = [" ".join(" ".join(row.itertext()).split()) for row in table.xpath("tbody/tr")]
    assert [row.split()[0] for row in rows] == ["3", "1", "2"]
    assert rows[0] == "3 best 0.001 8 default 0.200 healthy 40 2.50"
    assert rows[2] == f"2 0.01 16 {PLANTED} – diverged – 2.50"
    assert html.fromstring(page).xpath("//img") == []


def test_the_plot_has_a_line_per_trial_through_all_axes(page):
    (island,) = html.fromstring(page).xpath("//script[@data-plot='plot-search-1']")
    plot = json.loads(island.text)
    lines = [point for point in _values(plot) if "trial" in point]
    at = {(point["trial"], point["axis"]): point["at"] for point in lines}
    assert at["3", "learning_rate"] == pytest.approx(0.5)  # by logarithm
    assert [at["1", "r"], at["3", "r"], at["2", "r"]] == [0, 0.5, 1]
    assert (at["3", "validation loss"], at["1", "validation loss"]) == (0, 1)
    assert at["2", "validation loss"] > 1  # above the axis: it diverged
    assert {point["trial"] for point in lines if point["best"]} == {"3"}


def _values(node):
    """Return all data that stand anywhere in a plot."""
    if isinstance(node, dict):
        found = node.get("values", []) if isinstance(node.get("values"), list) else []
        return [*found, *(p for value in node.values() for p in _values(value))]
    return [p for item in node for p in _values(item)] if isinstance(node, list) else []


def test_losses_far_apart_are_drawn_by_logarithm():
    losses = [0.1, 1.0, 10.1]
    assert parallelplot.placed(1.0, parallelplot._loss_axis(losses)) == pytest.approx(
        math.log(10) / math.log(101)
    )


def test_of_many_choices_some_are_written():
    ticks = parallelplot._ticks({"k": "k"}, {"k": {"choices": list(range(50))}}, [], False)
    assert [tick["text"] for tick in ticks] == [str(n) for n in range(0, 50, 5)]


def test_names_of_axes_are_short_unless_two_would_share_one():
    assert parallelplot._short(["lora.r", "a.x", "b.x"]) == {
        "lora.r": "r",
        "a.x": "a.x",
        "b.x": "b.x",
    }


def test_a_sweep_is_told_like_a_search(tmp_path):
    runs = {f"s.r-{r}": {"sweep": {"lora.r": [r]}} for r in (16, 4, 8)}
    known = {
        f"runs/{name}": {"counts": {"best_eval_loss": loss, "steps": 9}}
        for name, loss in zip(runs, (0.5, 0.7, 0.4), strict=True)
    }
    judged = {"s.r-8": {"verdicts": [{"name": "overfit", "sentence": "It turned."}]}}
    spec = {"runs": runs, "sweeps": {"s": [*runs, "not-yet-trained"]}}
    (said,), drawn = searchsection.search_section(tmp_path, spec, known, judged)
    assert [row["name"] for row in said["rows"]] == ["s.r-8", "s.r-16", "s.r-4"]
    assert said["best"]["name"] == "s.r-8"
    assert said["rows"][0]["verdicts"] == [
        {"name": "overfit", "way": "worse", "sentence": "It turned."}
    ]
    assert list(drawn) == ["plot-search-1"]


def test_what_is_not_there_yet_is_left_out_and_what_is_no_list_is_refused(tmp_path):
    spec = {"runs": {"r": {"search": {}}}, "sweeps": {"s": []}}
    assert searchsection.search_section(tmp_path, spec, {}, {}) == ([], {})
    path = tmp_path / "runs/r/search.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(StageError, match="does not have the shape of list_trials"):
        searchsection.search_section(tmp_path, spec, {}, {})
