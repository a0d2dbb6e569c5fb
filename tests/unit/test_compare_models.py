"""Two models beside each other, from what the stages keep: also models with planted defects."""

import json

import pytest

import check_gates
import compare_models
import gate
import score_answers
import summarize_results
from sftflow.stage import StageError

GATES = [
    "d.exact_match >= 0.9",
    "d.ended == 1.0",
    "no benchmark falls by more than 2 standard errors",
]


def answer(i, said, finish="stop", **more):
    row = {"set": "d", "id": str(i), "answer": said, "reference": f"yes {i}"}
    return {**row, "messages": [], "finish_reason": finish, "completion_tokens": 3, **more}


def model(folder, name, rows, right):
    """Write what a model answered, and of 100 benchmark items those that it has right."""
    place = folder / "eval" / name / "benchmark"
    place.mkdir(parents=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (place.parent / "generations.jsonl").write_text(text)
    samples = [
        {"task": "world", "filter": "none", "doc_id": i, "doc_hash": f"h{i}", "metrics": ["acc"]}
        | {"acc": float(i in right)}
        for i in range(100)
    ]
    (place / "s.samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    mean = len(set(right)) / 100
    acc = {"value": mean, "stderr": (mean * (1 - mean) / 99) ** 0.5, "n": 100}
    (place / "s.json").write_text(json.dumps({"tasks": {"world": {"acc": acc}}}))


def start_model(folder):
    model(folder, "base", [answer(i, "no") for i in range(40)], range(80))


def compared(folder, metrics=("exact_match", "ended")):
    eval_ = folder / "eval"
    spec = {"model": "tuned", "against": "base", "suites": ["s"]}
    spec["sets"] = {"d": {"metrics": None if metrics is None else list(metrics)}}
    out = eval_ / "tuned/against/base.json"
    places = {"model": eval_ / "tuned", "against": eval_ / "base", "comparison": out}
    options = [text for name, place in places.items() for text in (f"--{name}", str(place))]
    compare_models.main(["--spec", json.dumps(spec), *options])
    said = json.loads(out.read_text())
    return said, {f"{m['group']}/{m['metric']}": m for m in said["measures"]}


def gated(folder, rules=GATES):
    """Score and sum up both models, and hold the tuned one against rules."""
    models = [
        {"name": name, "kind": kind, "base": base, "suites": ["s"], "datasets": ["d"]}
        for name, kind, base in (("base", "base", None), ("tuned", "tuned", "base"))
    ]
    for name in ("base", "tuned"):
        spec = {"model": name, "sets": {"d": {"metrics": ["exact_match", "ended"]}}}
        place = folder / "eval" / name
        common = ["--generations", str(place / "generations.jsonl")]
        out = ["--scores", str(place / "scores.json")]
        score_answers.main(["--spec", json.dumps(spec), *common, *out])
    results = ["--results", str(folder)]
    spec = json.dumps({"models": models})
    summarize_results.main(["--spec", spec, *results, "--summary", str(folder / "summary.csv")])
    spec = json.dumps({"rules": rules, "models": models[1:], "suites": ["s"]})
    check_gates.main(["--spec", spec, *results, "--gates", str(folder / "gates.json")])
    return json.loads((folder / "gates.json").read_text())["models"]["tuned"]


def failed(folder):
    return [rule["rule"] for rule in gated(folder)["rules"] if rule["verdict"] != "pass"]


def test_a_model_that_learned_its_task_and_kept_the_rest(tmp_path, capsys):
    start_model(tmp_path)
    model(tmp_path, "tuned", [answer(i, f"yes {i}") for i in range(40)], range(1, 80))
    said, measures = compared(tmp_path)
    exact, kept = measures["scores/d.exact_match"], measures["s/world.acc"]
    assert (exact["wins"], exact["losses"], exact["test"]) == (40, 0, "mcnemar")
    assert exact["p_holm"] < 1e-6
    assert (kept["losses"], kept["p_holm"]) == (1, 1.0)
    assert said["answers"] == {"d": {"n": 40, "identical": 0}}
    assert said["turned"]["d"] == {"metric": "exact_match", "gained": 40, "lost": 0, "rows": []}
    assert gated(tmp_path)["verdict"] == "pass"
    gate.main(["--spec", "{}", "--gates", str(tmp_path / "gates.json")])
    before = (tmp_path / "eval/tuned/against/base.json").read_bytes()
    compared(tmp_path)
    assert (tmp_path / "eval/tuned/against/base.json").read_bytes() == before


def test_a_model_that_never_ends_its_answers_is_caught(tmp_path):
    start_model(tmp_path)
    endless = [answer(i, f"yes {i}" + " yes" * 9, "length") for i in range(40)]
    model(tmp_path, "tuned", endless, range(80))
    _, measures = compared(tmp_path)
    assert measures["scores/d.ended"]["losses"] == 40
    assert measures["scores/d.ended"]["p_holm"] < 1e-6
    assert failed(tmp_path) == GATES[:2]


def test_a_model_that_forgot_general_ability_is_caught(tmp_path):
    start_model(tmp_path)
    model(tmp_path, "tuned", [answer(i, f"yes {i}") for i in range(40)], range(60))
    _, measures = compared(tmp_path)
    forgot = measures["s/world.acc"]
    assert (forgot["wins"], forgot["losses"], forgot["ties"]) == (0, 20, 80)
    assert forgot["difference"] == pytest.approx(-0.2) and forgot["high"] < 0
    assert failed(tmp_path) == GATES[2:]
    with pytest.raises(SystemExit) as ended:
        gate.main(["--spec", "{}", "--gates", str(tmp_path / "gates.json")])
    assert ended.value.code == 1


def test_pairing_sees_what_two_means_can_not(tmp_path):
    """8 of 100 items lost, and none won: too few beside two means, too many for chance."""
    start_model(tmp_path)
    model(tmp_path, "tuned", [answer(i, f"yes {i}") for i in range(40)], range(72))
    _, measures = compared(tmp_path)
    assert measures["s/world.acc"]["p"] == pytest.approx(2 / 2**8)
    assert failed(tmp_path) == GATES[2:]
    (tmp_path / "eval/tuned/against/base.json").unlink()  # sqrt(2 * .8 * .2 / 99) = 0.057
    assert failed(tmp_path) == []


def test_rows_that_turned_to_the_worse_are_named(tmp_path):
    right = [answer(i, f"yes {i}") for i in range(30)]
    model(tmp_path, "base", right, range(80))
    model(tmp_path, "tuned", [*right[:28], answer(28, "no"), answer(29, "no")], range(80))
    said, _ = compared(tmp_path)
    lost = [{"id": str(i), "before": 1.0, "after": 0.0} for i in (28, 29)]
    assert said["turned"]["d"] == {"metric": "exact_match", "gained": 0, "lost": 2, "rows": lost}
    assert said["answers"]["d"] == {"n": 30, "identical": 28}


def test_only_common_rows_with_answers_count(tmp_path):
    long = {"set": "other", "id": "1", "answer": "x", "reference": None}
    model(tmp_path, "base", [answer(i, None, None) for i in range(3)] + [answer(3, "x"), long], [])
    model(tmp_path, "tuned", [answer(i, f"yes {i}") for i in range(5)], [])
    _, measures = compared(tmp_path)
    assert measures["scores/d.exact_match"]["n"] == 1
    assert measures["scores/d.exact_match"]["low"] is None


def test_models_that_were_asked_other_questions_are_not_compared(tmp_path):
    start_model(tmp_path)
    model(tmp_path, "tuned", [answer(1, "x", reference="other")], range(80))
    with pytest.raises(StageError, match="row '1' has another reference for each model"):
        compared(tmp_path)
    path = tmp_path / "eval/tuned/benchmark/s.samples.jsonl"
    path.write_text(path.read_text().replace('"h7"', '"other"'))
    (tmp_path / "eval/tuned/generations.jsonl").write_text("")
    with pytest.raises(StageError, match="hold other questions of world"):
        compared(tmp_path)
    path.write_text('{"task": "world"}\n')
    with pytest.raises(StageError, match="line 1 is no sample of lm-eval"):
        compared(tmp_path)


def test_scores_by_tag(tmp_path):
    rows = [answer(1, "yes 1", tags=["a", "b"]), answer(2, "no", tags=["a"]), answer(3, "no")]
    model(tmp_path, "tuned", rows, [])
    place = tmp_path / "eval/tuned"
    out = ["--generations", str(place / "generations.jsonl"), "--scores", str(place / "s.json")]
    score_answers.main(['--spec={"model": "tuned", "sets": {"d": {"metrics": null}}}', *out])
    said = json.loads((place / "s.json").read_text())
    assert {tag: one["exact_match"]["value"] for tag, one in said["tags"]["d"].items()} == {
        "a": 0.5,
        "b": 1.0,
    }
    assert said["sets"]["d"]["exact_match"]["n"] == 3
