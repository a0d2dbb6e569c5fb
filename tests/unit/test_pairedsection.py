import json

import pytest

from report_fixture import PLANTED, SPEC, write_results
from sftflow import gatesection, pairedsection, samples
from sftflow.comparison import compare
from sftflow.forest import drawn_measures, forest
from sftflow.stage import StageError
from sftflow.summary import Measurement


def pair(metric, difference, p=0.001, group="scores", **more):
    sides = {"against": 0.5, "model": 0.5 + difference, "difference": difference}
    interval = {"low": difference - 0.1, "high": difference + 0.05, "stderr": 0.04}
    return {"group": group, "metric": metric, "n": 90, "p_holm": p, **sides, **interval, **more}


def said(*measures, **more):
    books = {"answers": {"d": {"n": 3, "identical": 1}}, "turned": {}}
    return {"model": "m", "against": "b", "measures": list(measures), **books, **more}


def test_a_paired_difference_decides_what_two_means_leave_open():
    base = [Measurement("b", "base", "scores", "d.acc", 0.5, 0.05, 90)]
    tuned = [Measurement("m", "tuned", "scores", "d.acc", 0.6, 0.05, 90)]
    assert compare(base, tuned)[0].verdict == "same"  # 0.1 / 0.07
    for difference, p, verdict in (
        (0.1, 0.01, "better"),
        (-0.1, 0.01, "worse"),
        (0.1, 0.05, "same"),
    ):
        pairs = pairedsection.pairs_of(said(pair("d.acc", difference, p)))
        (found,) = compare(base, tuned, pairs)
        assert (found.verdict, found.difference, found.error) == (verdict, difference, 0.04)


def test_better_is_to_the_right_and_first():
    measures = [pair("d.repetition", -0.3), pair("d.acc", 0.2), pair("d.ended", -0.2)]
    measures += [pair("d.bleu", 0.3), pair("d.answer_tokens", 0.1), pair("d.one", 0.1, low=None)]
    told, drawn = pairedsection.paired_section(said(*measures), "id", {}, {"redact_samples": True})
    rows = drawn_measures(told["measures"])
    assert [(row["measure"], row["verdict"]) for row in rows] == [
        ("d.repetition", "better"),
        ("d.acc", "better"),
        ("d.ended", "worse"),
    ]
    first = rows[0]  # from -0.3, -0.4 to -0.25, turned round
    assert (first["low"], first["gain"], first["high"]) == pytest.approx((0.25, 0.3, 0.4))
    assert drawn["id"] == forest(rows)
    nothing, plots = pairedsection.paired_section(said(), "id", {}, {"redact_samples": True})
    assert (nothing["plot"], plots) == (None, {})


def test_rows_that_lost_most_stand_side_by_side_unless_texts_are_left_out(tmp_path):
    results = write_results(tmp_path)
    answered = samples.generations(results, SPEC["models"])
    lost = {"id": f"{7:016x}", "before": 1.0, "after": 0.0}
    turned = {"tickets": {"metric": "exact_match", "gained": 2, "lost": 1, "rows": [lost]}}
    one = said(turned=turned, model="support", against="tiny")
    spec = {"redact_samples": False, "sample_chars": 40}
    told, _ = pairedsection.paired_section(one, "id", answered, spec)
    (row,) = told["turned"][0]["samples"]
    assert [answer["model"] for answer in row["answers"]] == ["tiny", "support"]
    told, _ = pairedsection.paired_section(one, "id", answered, {**spec, "redact_samples": True})
    assert told["turned"][0]["samples"] == []


def test_tags_are_ordered_by_rows_and_small_ones_marked(tmp_path):
    (table,) = pairedsection.tag_tables(write_results(tmp_path), "tiny", "support")
    assert [(row["tag"], row["n"], row["few"]) for row in table["rows"]] == [
        ("router", 180, False),
        (f"other {PLANTED}", 11, True),
    ]
    before, after = table["rows"][0]["pairs"][0]
    assert (before["value"], after["value"]) == (0.0, 0.97)
    assert pairedsection.tag_tables(tmp_path / "nothing", "tiny", "support") == []


def test_other_pairs_have_a_place_of_their_own():
    against = {("m", "b"): said(pair("d.acc", 0.1)), ("m", "other"): said(pair("d.acc", 0.1))}
    own, others, plots = pairedsection.all_pairs(
        against, {"m": "b", "b": None}, {}, {"redact_samples": True}
    )
    assert list(own) == ["m"] and len(others) == 1
    assert list(plots) == ["plot-paired-1", "plot-paired-2"]


@pytest.mark.parametrize(
    ("verdicts", "way", "sentence"),
    [
        (["pass"] * 3, "better", "It may ship: it passes all 3 gates."),
        (["pass"], "better", "It may ship: it passes its gate."),
        (["pass", "not measured"], "worse", "It may not ship: it fails 1 of 2 gates."),
        (["fail"], "worse", "It may not ship: it fails its gate."),
    ],
)
def test_may_it_ship(verdicts, way, sentence):
    rules = [{"rule": str(i), "verdict": v, "sentence": ""} for i, v in enumerate(verdicts)]
    told = gatesection.shipping("m", {"m": {"rules": rules}})
    assert (told["way"], told["sentence"]) == (way, sentence)
    assert gatesection.shipping("x", {})["way"] == ""


def test_files_of_another_shape_are_refused(tmp_path):
    path = tmp_path / "eval/m/against/b.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"measures": []}))
    with pytest.raises(StageError, match="does not have the shape of compare_models"):
        pairedsection.comparisons_made(tmp_path, [("m", "b"), ("m", "absent")])
    (tmp_path / "gates.json").write_text("{}")
    with pytest.raises(StageError, match="does not have the shape of check_gates"):
        gatesection.gates_checked(tmp_path)
