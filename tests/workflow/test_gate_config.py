"""Faults of gates and of pairs to compare are told before any job."""

from __future__ import annotations

import copy

import pytest
from broken_config import assert_one_fault, faults, load

from sftflow import plan

TASK = """\
task: quiz
dataset_path: parquet
metric_list: [{ metric: exact_match }]
"""
GOOD = {
    "sources": {"mine": {"path": "rows.jsonl"}},
    "datasets": {
        "talk": {"sources": ["mine"], "metrics": ["exact_match", "json_fields"]},
        "free": {"sources": ["mine"]},
    },
    "bases": {"tiny": {"make": {}, "template": "chatml"}},
    "runs": {
        "first": {"base": "tiny", "dataset": "talk", "max_length": 512, "suites": ["quizzes"]},
        "second": {"base": "tiny", "dataset": "free", "max_length": 512},
        "unmeasured": {"base": "tiny", "dataset": "free", "max_length": 512, "measure": False},
    },
    "suites": {"quizzes": {"folder": "tasks", "tasks": ["quiz"]}},
    "texts": {"general": "rows.jsonl"},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/quiz.yaml").write_text(TASK)
    return tmp_path


def with_gates(*rules, models=None, **changes):
    return copy.deepcopy(GOOD) | {"gates": {"rules": list(rules), "models": models}} | changes


@pytest.mark.parametrize(
    "rule",
    [
        "talk.exact_match >= 0.9",
        "exact_match >= 0.9",
        "scores/talk.json_fields.price >= 0.9",
        "free.bleu >= 20",  # its metrics are chosen by the look of its references
        "quiz.exact_match >= 0.5",
        "quizzes/exact_match >= 0.5",
        "quiz.exact_match[strict] >= 0.5",
        "ttft_ms.p95 <= 200",
        "latency/ttft_ms.p95[p32,o16,c1] <= 200",
        "fit.k_ms_per_token <= 30",
        "no text.general rises by more than 0.2",
        "validation <= 1.5",
        "no benchmark falls by more than 2 standard errors",
        "talk.same_answer <= 0.5",  # measured whatever its metrics are
        "no known fault",
        "no known fault but forgot, does not end",
    ],
)
def test_what_will_be_measured_may_be_a_gate(folder, rule):
    assert load(folder, with_gates(rule))["gates"]["rules"] == [rule]


@pytest.mark.parametrize(
    "rule",
    [
        "ttft_ms.p95[r4] <= 300",
        "slo_attainment[r4] >= 0.9",
        "goodput.highest_rate_per_s >= 4",
        "server.peak_rss_mib <= 8000",
    ],
)
def test_what_is_measured_at_a_rate_may_be_a_gate(folder, rule):
    asked = {"rates": [4], "slo": {"ttft_ms": 200}}
    assert load(folder, with_gates(rule, latency=asked))["gates"]["rules"] == [rule]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("talk.exactmatch >= 0.9", "did you mean 'talk.exact_match'?"),
        ("jason_fields >= 0.9", "did you mean 'json_fields'?"),
        ("talk.bleu >= 9", "nothing that is measured is called 'talk.bleu'"),
        ("quizes/quiz.exact_match > 0", "did you mean 'quizzes/quiz.exact_match'?"),
        ("quiz.acc > 0", "nothing that is measured is called 'quiz.acc'"),
        ("ttft.p95 <= 200", "did you mean 'ttft_ms.p95'?"),
        ("ttft_ms.p95[p999,o16,c1] <= 200", "nothing that is measured"),
        ("text.generall <= 3", "did you mean 'text.general'?"),
        ("exact_match at least 0.9", "is no rule; write it as 'tickets.exact_match >= 0.9'"),
        ("no exact_match falls by more than 2 errors", "is no rule"),
        ("no known fault but forgets", "'forgets'; did you mean 'forgot'?"),
    ],
)
def test_what_nothing_measures_is_told_with_what_is_near(folder, rule, said):
    assert_one_fault(folder, with_gates(rule), said)


def test_all_faults_of_the_gates_are_told_at_once(folder):
    config = with_gates("talk.exactmatch >= 0.9", "oops", models=["firsd", "unmeasured"])
    told = " ".join(faults(folder, config))
    assert "gates.models: there is no model 'firsd'; did you mean 'first'?" in told
    assert "gates.models: run 'unmeasured' is not measured; set its measure: true" in told
    assert "gates.rules[1]: 'oops' is no rule" in told


def test_a_start_model_has_nothing_to_fall_from(folder):
    rule = "no exact_match falls by more than 0.1"
    assert_one_fault(folder, with_gates(rule, models=["tiny"]), "tiny of gates.models starts from")
    assert load(folder, with_gates("exact_match >= 0", models=["tiny"]))


def test_gates_that_no_model_could_pass_or_fail(folder):
    runs = {"only": GOOD["runs"]["unmeasured"]}
    assert_one_fault(folder, with_gates("exact_match >= 1", runs=runs), "no run is measured")


def test_without_suites_there_is_no_benchmark(folder):
    runs = {name: {**run, "suites": []} for name, run in GOOD["runs"].items()}
    config = with_gates("no benchmark falls by more than 2 standard errors", runs=runs)
    assert_one_fault(folder, config, "no benchmark is run; name suites in the runs")


def test_a_shipped_task_may_be_a_group(folder):
    suites = {"quizzes": {"tasks": ["mmlu"]}}
    for rule in ("mmlu_anatomy.acc >= 0.5", "acc >= 0.5", "mmlu.acc[none] >= 0.5"):
        assert load(folder, with_gates(rule, suites=suites))
    assert_one_fault(folder, with_gates("mmmlu.acc >= 1", suites=suites), "did you mean 'mmlu.acc'")


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (["firstt", "tiny"], "comparisons[0]: there is no model 'firstt'; did you mean 'first'?"),
        (["first", "first"], "comparisons[0]: names the same thing twice"),
        (["first", "second"], "first and second have no dataset and no suite in common"),
    ],
)
def test_pairs_that_can_not_be_compared(folder, pair, said):
    assert_one_fault(folder, {**GOOD, "comparisons": [pair]}, said)


def test_each_run_is_compared_with_its_start_model_and_as_asked(folder):
    runs = {**GOOD["runs"], "third": {**GOOD["runs"]["first"], "base": "first"}}
    config = load(folder, {**GOOD, "runs": runs, "comparisons": [["third", "tiny"]]})
    assert plan.comparisons(config) == [
        ("first", "tiny"),
        ("second", "tiny"),
        ("third", "first"),
        ("third", "tiny"),
    ]


def test_what_judges_and_people_say_may_be_a_gate(folder):
    judge = {"j": {"endpoint": {"base_url": "http://host/v1", "model": "m"}}}
    rules = ["judged/j.win_rate[tiny] >= 0.5", "people/p.accuracy >= 4"]
    config = with_gates(*rules, models=["first"], judges=judge, people={"p": {}})
    assert load(folder, config)["gates"]["rules"] == rules
    config["gates"]["rules"] = ["j.winrate >= 0.5"]
    assert_one_fault(folder, config, "did you mean 'j.win_rate'?")
