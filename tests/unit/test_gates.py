import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gate
from sftflow.faultrules import fault_rule
from sftflow.gates import Known, checked, parsed
from sftflow.stage import StageError
from sftflow.summary import Measurement


def measured(**values):
    """Return measurements by (group, metric); names are group__metric with _ for the rest."""
    found = {}
    for name, value in values.items():
        group, _, metric = name.partition("__")
        figure, stderr = value if isinstance(value, tuple) else (value, None)
        key = group, metric.replace("__", ".")
        found[key] = Measurement("m", "tuned", *key, figure, stderr, 100)
    return found


def verdict(rule, model, base=None, errors=None):
    known = Known(model, base or {}, errors or {}, ["suite"])
    return checked(parsed(rule), known)


def test_a_rule_of_faults_is_told_from_others_and_misspelt_ones_are_named():
    assert fault_rule("no  known fault but forgot,learned nothing").allowed == (
        "forgot",
        "learned nothing",
    )
    assert fault_rule("no known fault").allowed == ()
    assert fault_rule("no knownfault falls by more than 2") is None
    with pytest.raises(ValueError, match="no known fault 'forgt'; did you mean 'forgot'"):
        fault_rule("no known fault but forgt")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("d.exact_match >= 0.9", "pass"),
        ("d.exact_match>=0.91", "fail"),
        ("exact_match >= 0.9", "pass"),
        ("scores/exact_match == 0.9", "pass"),
        ("d.exact_match > 0.9", "fail"),
        ("d.exact_match < 9e-1", "fail"),
        ("match >= 0.1", "not measured"),  # no end of a name, only of a word
        ("loss/d.exact_match >= 0.1", "not measured"),
    ],
)
def test_bounds(rule, expected):
    assert verdict(rule, measured(scores__d__exact_match=0.9))["verdict"] == expected


def test_a_short_name_stands_for_all_and_the_worst_decides():
    model = {
        ("latency", f"ttft_ms.p95[p{p},o16,c1]"): Measurement("m", "tuned", "latency", "", value)
        for p, value in ((32, 90.0), (128, 250.0), (512, 210.0))
    }
    said = verdict("ttft_ms.p95 <= 200", model)
    assert (said["verdict"], said["value"], said["measures"]) == ("fail", 250.0, 3)
    assert said["measure"] == "latency/ttft_ms.p95[p128,o16,c1]"
    assert said["sentence"] == (
        "latency/ttft_ms.p95[p128,o16,c1] is 250; the rule asks for <= 200 (and 1 more)"
    )
    assert verdict("ttft_ms.p95[p32,o16,c1] <= 200", model)["verdict"] == "pass"


def test_a_gap_is_no_pass_but_a_failure_is_named_before_it():
    model = measured(scores__a__ended=None, scores__b__ended=1.0)
    said = verdict("ended == 1.0", model)
    assert (said["verdict"], said["sentence"]) == (
        "not measured",
        "scores/a.ended was not measured",
    )
    model |= measured(scores__c__ended=0.5)
    assert verdict("ended == 1.0", model)["measure"] == "scores/c.ended"


def test_a_fall_is_counted_in_standard_errors_of_the_difference():
    base = measured(suite__task__acc=(0.60, 0.03))
    model = measured(suite__task__acc=(0.50, 0.04))
    # 0.1 / sqrt(0.03^2 + 0.04^2) = 2
    assert verdict("no benchmark falls by more than 2.01 standard errors", model, base)[
        "verdict"
    ] == ("pass")
    said = verdict("no benchmark falls by more than 1.99 standard errors", model, base)
    assert (said["verdict"], said["figure"]) == ("fail", pytest.approx(2.0))
    paired = {("suite", "task.acc"): 0.02}  # 0.1 / 0.02 = 5
    said = verdict("no benchmark falls by more than 4 standard errors", model, base, paired)
    assert said["figure"] == pytest.approx(5.0)
    assert said["sentence"].endswith("went from 0.600 to 0.500, 5.0 standard errors worse")


def test_of_a_perplexity_a_rise_is_the_fall():
    base = measured(suite__wiki__word_perplexity=(10.0, 0.1), suite__task__length=5.0)
    model = measured(suite__wiki__word_perplexity=(12.0, 0.1), suite__task__length=1.0)
    rule = "no benchmark falls by more than 2 standard errors"
    assert verdict(rule, model, base)["measure"] == "suite/wiki.word_perplexity"
    said = verdict(rule, base, model)
    assert said["verdict"] == "pass" and said["sentence"].endswith("standard errors better")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("no text.general rises by more than 0.5", "pass"),
        ("no text.general rises by more than 0.4", "fail"),
        ("no loss/text.general rises by more than 26 %", "pass"),
        ("no text.general rises by more than 24%", "fail"),
        ("no text.general falls by more than 0", "pass"),
        ("text.general rises by at least 0.5", "pass"),
        ("text.general falls by at least 0.1", "fail"),
        ("no text.general rises by more than 2 standard errors", "not measured"),
    ],
)
def test_movements_with_their_units(rule, expected):
    base, model = measured(loss__text__general=2.0), measured(loss__text__general=2.5)
    assert verdict(rule, model, base)["verdict"] == expected


def test_what_the_start_model_lacks_is_not_measured():
    model = measured(scores__d__exact_match=0.9)
    assert verdict("exact_match rises by at least 0.1", model)["verdict"] == "not measured"


def test_a_loss_may_be_named_without_its_key():
    model = measured(loss__validation__d__t__0a1b=0.5)
    assert verdict("validation <= 1", model)["verdict"] == "pass"


@given(st.text(max_size=30))
def test_a_text_is_a_rule_or_is_told_how_to_be_one(text):
    try:
        rule = parsed(text)
    except ValueError as error:
        assert "write it as" in str(error)
    else:
        assert rule.measure


def test_without_gates_there_is_nothing_to_pass(tmp_path):
    (tmp_path / "gates.json").write_text(json.dumps({"rules": [], "models": {}}))
    with pytest.raises(StageError, match=r"write rules under gates\.rules"):
        gate.main(["--spec", "{}", "--gates", str(tmp_path / "gates.json")])
