import json
import math

import pytest

import judge_run
from sftflow.manifests import write_json
from sftflow.stage import StageError

KEY = "d.t.0a1b2c3d"


def losses(train, validation, recited=(0.1, 0.1)):
    def said(value):
        return {"value": value, "stderr": 0.01, "n": 100}

    sides = {
        side: {"exact": said(share)}
        for side, share in zip(("train", "validation"), recited, strict=True)
    }
    return {
        "losses": {f"train.{KEY}": said(train), f"validation.{KEY}": said(validation)},
        "recitation": {KEY: sides},
    }


@pytest.fixture
def folder(tmp_path):
    """Return what a healthy run of 40 steps and its measurements left."""
    rows = ["step,epoch,loss,learning_rate,grad_norm,eval_loss,tokens"]
    for step in range(1, 41):
        held = f"{1.1 - step / 400:.3f}" if step % 10 == 0 else ""
        rows.append(f"{step},0,{0.9 + 2 * math.exp(-step / 5):.4f},0.001,1.0,{held},9")
    (tmp_path / "history.csv").write_text("\n".join(rows) + "\n")
    write_json(
        tmp_path / "manifest.json",
        {
            "schema": 1,
            "settings": {"method": "full", "training": {"load_best_model_at_end": True}},
            "counts": {"kept_step": 40},
        },
    )
    (tmp_path / "samples").mkdir()
    answers(tmp_path, 40, ended=True)
    write_json(tmp_path / "start.json", losses(3.0, 3.0))
    write_json(tmp_path / "tuned.json", losses(0.95, 1.0))
    generated(tmp_path, "start", range(20))
    generated(tmp_path, "tuned", range(1, 21))
    return tmp_path


def generated(folder, model, answers):
    rows = [
        {"set": "d", "id": str(i), "answer": str(answer), "reference": "19"}
        for i, answer in enumerate(answers)
    ]
    (folder / f"{model}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def answers(folder, step, ended):
    answer = {"prompt": "p", "reference": "yes", "answer": "yes " * 9, "ended": ended}
    path = folder / f"samples/step-{step:06d}.jsonl"
    path.write_text(4 * (json.dumps(answer) + "\n"))


def judged(folder, **more):
    files = {"run": "manifest.json", "history": "history.csv", "samples": "samples"}
    files |= {"tuned": "tuned.json", "start": "start.json", "verdicts": "verdicts.json"}
    files |= {"answers": "tuned.jsonl", "start-answers": "start.jsonl"}
    line = ["--spec", json.dumps({"run": "r", "templated": KEY})]
    for name, file in {**files, **more}.items():
        line += [f"--{name}", str(folder / file)]
    judge_run.main(line)
    return json.loads((folder / "verdicts.json").read_text())


def names(folder):
    return [one["name"] for one in judged(folder)["verdicts"]]


def test_a_healthy_run(folder):
    said = judged(folder)
    assert [one["name"] for one in said["verdicts"]] == ["healthy"]
    assert (said["best_step"], said["turned_at"], said["notes"]) == (40, None, [])
    before = (folder / "verdicts.json").read_bytes()
    judged(folder)
    assert (folder / "verdicts.json").read_bytes() == before


def test_a_run_on_pairs_is_judged_by_its_rewards(folder):
    said = {"value": -0.2, "stderr": 0.01, "n": 100}
    names = ("reward_accuracy", "reward_margin", "chosen_reward", "rejected_reward")
    rewards = dict.fromkeys(names, said) | {"pairs": 100}
    rewards["reward_accuracy"] = {"value": 0.52, "stderr": 0.05, "n": 100}
    write_json(folder / "preferences.json", rewards)
    write_json(folder / "tuned.json", losses(2.999, 2.999))  # of no concern here
    found = judged(folder, preferences="preferences.json")
    assert [one["name"] for one in found["verdicts"]] == ["underfit"]
    assert len(found["notes"]) == 1


def test_losses_and_recitation_are_read(folder):
    write_json(folder / "tuned.json", losses(0.3, 1.4, (0.9, 0.1)))
    assert names(folder) == ["memorised", "overfit"]
    write_json(folder / "tuned.json", losses(2.999, 2.999))
    assert names(folder) == ["did_nothing"]


def test_a_model_that_answers_as_before_learned_nothing(folder):
    """Whatever its losses say: unless there was nothing to learn."""
    generated(folder, "tuned", range(20))
    (verdict,) = judged(folder)["verdicts"]
    assert verdict["name"] == "did_nothing"
    assert verdict["sentence"] == "20 of 20 answers are word for word the start model's."
    for model in ("tuned", "start"):
        generated(folder, model, [19] * 20)
    assert names(folder) == ["healthy"]
    for model in ("tuned", "start"):  # too few to say so
        generated(folder, model, range(9))
    assert names(folder) == ["healthy"]


def test_only_the_last_answers_count(folder):
    answers(folder, 10, ended=False)
    assert names(folder) == ["healthy"]
    answers(folder, 40, ended=False)
    assert names(folder) == ["underfit"]


def test_a_run_without_measured_training_rows_is_judged_by_its_course(folder):
    for name, validation in (("tuned.json", 1.4), ("start.json", 3.0)):
        said = losses(0.3, validation)
        del said["losses"][f"train.{KEY}"]
        write_json(folder / name, {**said, "recitation": {}})
    assert names(folder) == ["healthy"]


def test_another_shape_is_named(folder):
    write_json(folder / "tuned.json", {"losses": {}})
    write_json(folder / "start.json", losses(3.0, 3.0))
    assert names(folder) == ["healthy"]  # nothing was measured of that key
    write_json(folder / "tuned.json", {"loss": {}})
    with pytest.raises(StageError, match=r"run r: .* does not have the shape .*KeyError"):
        judged(folder)
