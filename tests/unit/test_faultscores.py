"""Scores that show known faults, by hand."""

import json

import pytest

import score_answers
from sftflow.faultscores import FAULT_SCORES, copied_share, fault_scores


def row(answer, prompt="one two three four five", reference="six", **more):
    messages = [{"role": "system", "content": None}, {"role": "user", "content": prompt}]
    return {"answer": answer, "reference": reference, "messages": messages} | more


def test_the_most_common_answer_is_counted_as_a_reader_would_see_it():
    said = fault_scores([row("Yes."), row("yes"), row("no"), row(None), row("maybe")])
    # 2 of 4 answers; sqrt(0.5 * 0.5 / 3)
    assert said["same_answer"] == {"value": 0.5, "stderr": pytest.approx(0.288675), "n": 4}
    unasked = [row("", finish_reason="prompt_too_long")] * 5
    assert fault_scores([*unasked, row("a"), row("b")])["same_answer"]["value"] == 0.5
    assert fault_scores(unasked)["same_answer"]["value"] is None


def test_what_should_be_another_answer_is_counted_by_its_reference():
    rows = [row("Yes.", reference="yes"), row("yes", reference="no"), row("yes", reference="maybe")]
    rows += [row("no", reference="no"), row("yes", reference=None), row(None, reference="no")]
    # of the three rows whose reference is not "yes", two; sqrt(2/3 * 1/3 / 2)
    said = fault_scores(rows)["same_instead"]
    assert said == {"value": pytest.approx(2 / 3), "stderr": pytest.approx(1 / 3), "n": 3}
    assert fault_scores([row("Yes.", reference="yes")])["same_instead"]["value"] is None


def test_what_is_copied_stands_in_the_prompt_and_not_in_the_reference():
    # 4-grams of the answer: 1-4 and 2-5 are the prompt's, 3-6 is not
    assert copied_share(row("One two, three four five nine")) == pytest.approx(2 / 3)
    asked_for = "two three four five"  # so 2-5 was wanted
    assert copied_share(row("One two, three four five nine", reference=asked_for)) == 1 / 3
    assert copied_share(row("one two three")) is None
    assert copied_share(row("one two three four", reference=None)) is None
    assert (
        copied_share(row("\u4f60\u597d\u5417\u6211", prompt="\u4f60\u597d\u5417\u6211\u4eec")) == 1
    )


def test_sets_without_references_copy_nothing_that_is_known():
    said = fault_scores([row("a b c d", reference=None)])
    assert not {"copied", "same_instead"} & said.keys() and said["same_answer"]["n"] == 1


def test_they_are_measured_whatever_metrics_are_named(tmp_path):
    answers, scores = tmp_path / "generations.jsonl", tmp_path / "scores.json"
    rows = [{**row("x"), "set": "qa", "id": str(i), "finish_reason": "length"} for i in range(3)]
    answers.write_text("".join(json.dumps(one) + "\n" for one in rows))
    spec = json.dumps({"model": "m", "sets": {"qa": {"metrics": ["exact_match"]}}})
    score_answers.main(["--spec", spec, "--generations", str(answers), "--scores", str(scores)])
    said = json.loads(scores.read_text())["sets"]["qa"]
    assert said.keys() == {"exact_match", *FAULT_SCORES}
    assert (said["ended"]["value"], said["same_answer"]["value"]) == (0, 1)
