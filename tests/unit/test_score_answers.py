import json

import pytest

import score_answers
from sftflow.stage import StageError

ROW = {
    "set": "qa",
    "id": "1",
    "answer": "4",
    "reference": "4",
    "finish_reason": "stop",
    "completion_tokens": 1,
}
SPEC = {"model": "m", "sets": {"qa": {"metrics": None}, "prompts": {"metrics": None}}}


def scored(tmp_path, *rows):
    answers, scores = tmp_path / "generations.jsonl", tmp_path / "scores.json"
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    score_answers.main(
        ["--spec", json.dumps(SPEC), "--generations", str(answers), "--scores", str(scores)]
    )
    return json.loads(scores.read_text())


def test_each_set_has_the_scores_that_fit_it(tmp_path):
    free = {**ROW, "set": "prompts", "reference": None, "finish_reason": "length"}
    said = scored(tmp_path, ROW, {**ROW, "id": "2", "answer": "5"}, free)
    assert said["model"] == "m"
    assert said["sets"]["qa"]["exact_match"]["value"] == 0.5
    assert said["sets"]["prompts"]["ended"]["value"] == 0
    assert "exact_match" not in said["sets"]["prompts"]


def test_a_set_without_rows_is_null_and_not_zero(tmp_path):
    assert scored(tmp_path, ROW)["sets"]["prompts"]["ended"] == {
        "value": None,
        "stderr": None,
        "n": 0,
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**ROW, "set": "other"}, "line 2: set 'other' was not asked for"),
        (ROW, "line 2: '1' is answered twice"),
        ({**ROW, "id": "2", "answer": 4}, "line 2: answer is neither text nor null"),
        ({"set": "qa", "id": "2", "answer": "x"}, "line 2: reference is neither"),
    ],
)
def test_rows_that_can_not_be_scored_stop_the_stage(tmp_path, row, said):
    with pytest.raises(StageError, match=said):
        scored(tmp_path, ROW, row)
    assert not (tmp_path / "scores.json").exists()
