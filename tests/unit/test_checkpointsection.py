"""What the report says of answers in the middle of a training."""

import json

import pytest

from sftflow.checkpointsection import answers_by_step, checkpoint_section, scores_by_step
from sftflow.stage import StageError

HISTORY = """step,epoch,loss,learning_rate,grad_norm,eval_loss,tokens,eval_bleu,eval_ended
1,0.1,3.0,0.1,1.0,,10,,
2,0.2,2.5,0.1,1.0,2.4,20,11.5,0.5
4,0.4,2.0,0.1,1.0,2.2,40,,0.75
"""
KNOWN = {"runs/r": {"counts": {"kept_step": 4, "best_by": "ended"}}}


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "runs/r"
    (folder / "samples").mkdir(parents=True)
    (folder / "history.csv").write_text(HISTORY)
    rows = []
    for step in (2, 4):
        for name, reference in (("validation", "yes"), ("prompts", None)):
            row = {"step": step, "set": name, "id": "a", "prompt": f"<b>{name}\x07"}
            row |= {"reference": reference, "answer": f"no {step}", "finish_reason": "length"}
            rows.append(json.dumps(row | {"completion_tokens": 3}))
    (folder / "samples/answers.jsonl").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_scores_stand_beside_the_loss_of_their_step(results):
    names, rows = scores_by_step(results / "runs/r/history.csv")
    assert names == ["bleu", "ended"]
    assert rows == [
        {"step": 2, "eval_loss": 2.4, "bleu": 11.5, "ended": 0.5},
        {"step": 4, "eval_loss": 2.2, "bleu": None, "ended": 0.75},  # no data is not 0
    ]


def test_fixed_prompts_come_first_with_an_answer_per_step(results):
    first, second = answers_by_step(results / "runs/r/samples/answers.jsonl", 100)
    assert (first["set"], second["set"]) == ("prompts", "validation")
    assert [a["model"] for a in first["answers"]] == ["step 2", "step 4"]
    assert [a["match"] for a in second["answers"]] == [False, False]
    assert [a["match"] for a in first["answers"]] == [None, None]
    assert all(a["cut"] for a in first["answers"])
    assert first["prompt"] == "<b>prompts\ufffd"


def test_of_many_steps_the_first_and_the_last_are_shown(results):
    path = results / "runs/r/samples/answers.jsonl"
    row = json.loads(path.read_text().splitlines()[0])
    path.write_text("".join(json.dumps({**row, "step": n}) + "\n" for n in range(1, 31)))
    (told,) = answers_by_step(path, 100)
    steps = [int(a["model"].split()[1]) for a in told["answers"]]
    assert (len(steps), steps[0], steps[-1]) == (5, 1, 30)
    assert steps == sorted(set(steps))


def test_only_shares_are_drawn_and_texts_can_be_left_out(results):
    (said,), drawn = checkpoint_section(results, ["r", "other"], KNOWN, 100, redact=True)
    assert (said["run"], said["kept"], said["by"], said["samples"]) == ("r", 4, "ended", [])
    text = json.dumps(drawn[said["plot"]])
    assert '"ended"' in text and '"bleu"' not in text


def test_a_run_that_gave_no_answers_is_not_told(results):
    (results / "runs/r/samples/answers.jsonl").unlink()
    assert checkpoint_section(results, ["r"], KNOWN, 100, redact=False) == ([], {})


@pytest.mark.parametrize("text", ['{"step": 1}\n', '{"step": 1, "set"\n'])
def test_a_damaged_file_is_named(results, text):
    path = results / "runs/r/samples/answers.jsonl"
    path.write_text(text)
    with pytest.raises(StageError, match=r"answers\.jsonl"):
        answers_by_step(path, 100)
