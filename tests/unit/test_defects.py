"""Planted faults of a tuned model: the page tells them without gates, a gate stops each."""

import json

import pytest

import build_report
import check_gates
import score_answers
import summarize_results
from sftflow import report
from sftflow.comparison import compare
from sftflow.defects import Defect, defects
from sftflow.gates import Known, checked, parsed
from sftflow.gatesection import stopped_by
from sftflow.seenquestions import with_questions
from sftflow.stage import StageError
from sftflow.summary import Measurement, read_summary
from sftflow.verdicts import comparisons as compared_models

KEY = "d.t.0a1b2c3d"
MODELS = [
    {"name": name, "kind": kind, "base": base, "suites": ["s"], "datasets": ["d"], "dataset": own}
    for name, kind, base, own in (("start", "base", None, None), ("tuned", "tuned", "start", "d"))
]


def right(i):
    return f"yes {i} and that is all"


def asked(i):
    return f"My parcel number {i} has not come yet and I am waiting"


def answers(said, finish="stop", rows=40, tokens=5):
    """Rows with a reference each; ``said`` is asked for each answer."""
    more = {"finish_reason": finish, "completion_tokens": tokens, "set": "d"}
    return [
        {"id": str(i), "answer": said(i), "reference": right(i), **more}
        | {"messages": [{"role": "user", "content": asked(i)}]}
        for i in range(rows)
    ]


def share(value, n=400):
    return {"value": value, "stderr": (value * (1 - value) / (n - 1)) ** 0.5, "n": n}


def measured(folder, name, rows, text=2.3, held_out=0.2, recited=0.9, acc=0.8):
    """Write what the stages would leave of a model, scored by the real stage."""
    place = folder / "eval" / name
    (place / "benchmark").mkdir(parents=True)
    (place / "generations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loss = {"unit": "nats/token", "stderr": 0.01, "n": 5000}
    losses = {"text.general": {"value": text, **loss}}
    losses |= {f"{side}.{KEY}": {"value": held_out, **loss} for side in ("validation", "train")}
    side = {"exact": share(recited, 100), "prefix_tokens": share(0.9, 100)}
    recitation = {KEY: {"train": side, "validation": side, "recited": []}}
    (place / "loss.json").write_text(json.dumps({"losses": losses, "recitation": recitation}))
    tasks = {"tasks": {"world": {"acc": share(acc)}}}
    (place / "benchmark/s.json").write_text(json.dumps(tasks))
    spec = {"model": name, "sets": {"d": {"metrics": ["exact_match", "answer_tokens"]}}}
    common = ["--generations", str(place / "generations.jsonl")]
    common += ["--scores", str(place / "scores.json")]
    score_answers.main(["--spec", json.dumps(spec), *common])


def start(folder):
    measured(folder, "start", answers(lambda i: f"no {i}"), held_out=4.0, recited=0.0)


def told(folder):
    """Sum up both models; return the tuned one's defects."""
    common = ["--spec", json.dumps({"models": MODELS}), "--results", str(folder)]
    summarize_results.main([*common, "--summary", str(folder / "summary.csv")])
    rows = read_summary(folder / "summary.csv")
    sides = [[row for row in rows if row.model == name] for name in ("start", "tuned")]
    return defects(compare(*sides), MODELS[1])


def verdicts(folder, rules, questions=()):
    """Return what the stage of the gates says of rules."""
    spec = {"rules": rules, "models": [MODELS[1]], "suites": ["s"], "questions": questions}
    common = ["--spec", json.dumps(spec), "--results", str(folder)]
    check_gates.main([*common, "--gates", str(folder / "gates.json")])
    said = json.loads((folder / "gates.json").read_text())["models"]["tuned"]
    return [rule["verdict"] for rule in said["rules"]]


PLANTED = {
    "never ends": (
        {"rows": answers(lambda i: f"yes {i} and then and so", "length")},
        ["does not end"],
        "Answers don't end: 0% of 40 answers to d ended by end-of-turn",
    ),
    "ends but half the time": (
        {"rows": answers(right, rows=20) + answers(right, "length", 40)[20:]},
        ["does not end"],
        "Not all answers end: 50% of 40 answers to d",
    ),
    "goes round in circles": (
        {"rows": answers(lambda i: f"we will see about {i} " * 30)},
        ["repeats itself"],
        "Answers go round in circles: 97% of the 4-grams of an answer to d stood in it before",
    ),
    "trained in another template": (
        {"rows": answers(lambda i: f"user yes {i}"), "recited": 0.9},
        ["served otherwise than trained"],
        "Asked in the tokens of its training it says 90% of the answers of d's validation rows "
        "word for word, but served only 0%",
    ),
    "the same where nothing is recited": (
        {"rows": answers(lambda i: f"user yes {i}"), "recited": 0.0, "held_out": 1.2},
        ["served otherwise than trained"],
        "its loss on validation rows of d fell from 4.00 to 1.20, but no score",
    ),
    "says the same": (
        {"rows": answers(lambda _: right(7)), "recited": 0.0},
        ["always says the same"],
        "It does not listen: 100% of 40 answers to d are one and the same",
    ),
    "says nothing": (
        {"rows": answers(lambda _: "", tokens=1), "recited": 0.0},
        ["always says the same"],
        "It does not listen: 100% of 40 answers to d are nothing",
    ),
    "says what most rows ask for": (  # 85 % right, and deaf
        {
            "rows": [{**row, "reference": "yes"} for row in answers(lambda _: "yes", rows=34)]
            + answers(lambda _: "yes")[34:]
        },
        ["always says the same"],
        "It does not listen: 100% of 40 answers to d are one and the same, also 100% of the 6 that "
        "should be another",
    ),
    "copies the prompt": (
        {"rows": answers(asked), "recited": 0.0},
        ["copies the prompt"],
        "Answers repeat the prompt: 100% of the 4-grams of an answer to d stand in its prompt",
    ),
    "trained on the user's words": (
        {"rows": answers(lambda i: f"my parcel {i}"), "recited": 0.0, "held_out": 4.1},
        ["learned nothing"],
        "It learned nothing that shows: its loss on validation rows of d went from 4.00 to 4.10, "
        "and no score of its answers is better (d.exact_match 0.000 \u2192 0.000)",
    ),
    "is its start model": (
        {"rows": answers(lambda i: f"no {i}"), "recited": 0.0, "held_out": 4.0},
        ["learned nothing"],
        "It learned nothing that shows: its loss on validation rows of d went from 4.00 to 4.00",
    ),
    "forgot general text": (
        {"rows": answers(right), "text": 2.6},
        ["forgot"],
        # 0.3 / (0.01 * sqrt(2)) = 21.2; exp(0.3) = 1.35
        "It forgot general text: its loss on general rose from 2.30 to 2.60 (21.2 standard "
        "errors), which is 35% more perplexity",
    ),
    "forgot everything": (
        {"rows": answers(right), "text": 8.3},
        ["forgot"],
        "standard errors), which is 403 times the perplexity",  # exp(6)
    ),
    "forgot a benchmark": (
        {"rows": answers(right), "acc": 0.7},
        ["forgot"],
        "It lost ability on benchmarks: world.acc 0.800 \u2192 0.700",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_told_and_its_gate_stops_it(tmp_path, name):
    planted, names, sentence = PLANTED[name]
    start(tmp_path)
    measured(tmp_path, "tuned", **planted)
    found = told(tmp_path)
    assert any(defect.text.startswith(sentence) or sentence in defect.text for defect in found)
    assert {*names} <= {defect.name for defect in found}
    assert {defect.name for defect in found} <= {*names, "served otherwise than trained"}
    assert set(verdicts(tmp_path, [defect.gate for defect in found])) == {"fail"}
    others = [defect.name for defect in found]
    assert verdicts(tmp_path, ["no known fault", f"no known fault but {', '.join(others)}"]) == [
        "fail",
        "pass",
    ]


def questions(folder, found, asked=200):
    """Write what find_contamination would leave of the tuned model's dataset."""
    tasks = {"s/world": {"questions": asked, "found": found, "rows": found, "unchecked": 0}}
    (folder / "datasets/d").mkdir(parents=True, exist_ok=True)
    path = folder / "datasets/d/contamination.json"
    path.write_text(json.dumps({"counts": {"tasks": tasks}}))


# A tenth of 200 questions by chance: 20, and two standard errors, 2 sqrt(0.1 * 0.9 / 200) = 8.5.
@pytest.mark.parametrize(("found", "kept", "is_told"), [(30, "d", 1), (28, "d", 0), (200, "e", 0)])
def test_a_model_that_was_trained_on_its_test_is_told_and_stopped(tmp_path, found, kept, is_told):
    start(tmp_path)
    measured(tmp_path, "tuned", answers(right))
    assert told(tmp_path) == []
    questions(tmp_path, found)
    said = verdicts(tmp_path, ["no known fault", "no known fault but trained on its test"], [kept])
    assert said == ["fail" if is_told else "pass", "pass"]
    spec = {"models": [{**m, "run": None, "templated": []} for m in MODELS], "questions": [kept]}
    page = tmp_path / "report.html"
    common = ["--spec", json.dumps(spec), "--results", str(tmp_path)]
    build_report.main([*common, "--html", str(page)])
    sentence = (
        "It was trained on its test: 30 of the 200 questions of s/world stand in its training"
    )
    assert page.read_text(encoding="utf-8").count(sentence) == is_told


def test_a_count_of_questions_that_is_damaged_is_named(tmp_path):
    questions(tmp_path, 0)
    (tmp_path / "datasets/d/contamination.json").write_text("[]")
    with pytest.raises(StageError, match=r"contamination\.json .*delete it and rerun"):
        with_questions(tmp_path, MODELS, ["d"])


def test_a_good_model_has_none_and_passes_all_of_those_gates(tmp_path):
    start(tmp_path)
    # One of forty answers is cut, the text is a little harder, the benchmark within noise.
    rows = answers(right, rows=39) + answers(right, "length")[39:]
    measured(tmp_path, "tuned", rows, text=2.33, acc=0.79)
    assert told(tmp_path) == []
    rules = ["d.ended >= 0.9", "d.repetition <= 0.5", "d.exact_match >= 0.6"]
    rules += ["no text.general rises by more than 0.095"]
    rules += ["no benchmark falls by more than 2 standard errors", "no known fault"]
    rules += ["d.same_instead <= 0.9", "d.copied <= 0.5"]
    rules += ["validation.d falls by at least 2 standard errors"]
    assert verdicts(tmp_path, rules) == ["pass"] * len(rules)


def test_what_only_looks_like_a_fault_is_none(tmp_path):
    """A label that nearly all rows have, a summary of the prompt's words, an able start model."""
    start(tmp_path)
    one_label = [{**row, "reference": "yes"} for row in answers(lambda _: "yes")]
    measured(tmp_path, "tuned", one_label)
    assert told(tmp_path) == []
    for name in ("shorter", "able"):
        start(tmp_path / name)
    shorter = [{**row, "reference": row["answer"]} for row in answers(lambda i: asked(i)[3:])]
    measured(tmp_path / "shorter", "tuned", shorter)
    assert told(tmp_path / "shorter") == []
    (tmp_path / "able/eval/start").rename(tmp_path / "able/eval/other")
    measured(tmp_path / "able", "start", answers(right), held_out=0.2)
    measured(tmp_path / "able", "tuned", answers(right), held_out=0.2)
    assert told(tmp_path / "able") == []


def test_a_loss_that_fell_surely_and_by_next_to_nothing_was_not_learned():
    """Row by row the least change is sure: what counts is that it is small."""

    def one(model, value):
        kind = "base" if model == "start" else "tuned"
        return Measurement(model, kind, "loss", f"validation.{KEY}", value, 1e-4, 3000)

    def found(value):
        return defects(compare([one("start", 4.0)], [one("tuned", value)]), MODELS[1])

    (nothing,) = found(3.99)  # 0.25 % less, 70 standard errors
    assert nothing.name == "learned nothing"
    assert nothing.gate == "validation.d falls by at least 0.5%"
    assert found(3.97) == []
    (rule,) = [parsed(nothing.gate)]
    mine = {("loss", f"validation.{KEY}"): one("tuned", 3.99)}
    start = {("loss", f"validation.{KEY}"): one("start", 4.0)}
    assert checked(rule, Known(mine, start, {}, []))["verdict"] == "fail"


def test_too_few_answers_and_missing_figures_say_nothing():
    def one(group, metric, value, n=4, stderr=0.0):
        return Measurement("m", "tuned", group, metric, value, stderr, n)

    few = [one("scores", "d.ended", 0.0), one("scores", "d.repetition", 1.0)]
    few += [one("scores", "d.exact_match", 0.0), one("memorisation", f"validation_exact.{KEY}", 1)]
    gaps = [one("loss", "text.general", None), one("scores", "d.ended", None, None, None)]
    assert defects(compare([], few), MODELS[1]) == []
    assert defects(compare(few, gaps), MODELS[1]) == []


def test_the_first_screen_tells_it_before_the_gates(tmp_path):
    start(tmp_path)
    measured(tmp_path, "tuned", **PLANTED["never ends"][0])
    told(tmp_path)
    spec = {"models": [{**m, "run": None, "templated": []} for m in MODELS]}
    page = tmp_path / "report.html"
    common = ["--spec", json.dumps(spec), "--results", str(tmp_path)]
    build_report.main([*common, "--html", str(page)])
    text = page.read_text(encoding="utf-8")
    first_screen = text[text.index("<h1") : text.index('id="compared"')]
    defect, gates = first_screen.index("Answers don&#39;t end: 0%"), first_screen.index("No gates")
    assert defect < gates
    assert 'A gate that would stop it: <code class="data">d.ended &gt;= 0.9</code>' in first_screen


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], ("A gate that would stop it", "d.ended >= 0.9")),
        (["d.exact_match >= 0.9"], ("A gate that would stop it", "d.ended >= 0.9")),
        (["no known fault"], ("The gate that stops it", "no known fault")),
        (["no known fault but does not end"], ("Its gates allow this fault",)),
        (["no known fault but does not end", "no known fault"], ("The gate that stops it",)),
        (["no known fault but does not end", "d.ended >= 0.9"], ("The gate that stops it",)),
    ],
)
def test_what_the_gates_make_of_a_fault_stands_beside_it(rules, said):
    """Else a page would warn and say at once that the model may ship."""
    what, rule = stopped_by(Defect("does not end", "...", "d.ended >= 0.9", ()), rules)
    assert (what, rule)[: len(said)] == said
    assert rule in [*rules, "d.ended >= 0.9"]


def test_of_many_models_the_table_names_what_is_wrong_with_each():
    def ended(model, share):
        return Measurement(model, "tuned", "scores", "d.ended", share, 0.01, 100)

    names = [f"run-{i}" for i in range(5)]
    models = [
        {**MODELS[0], "run": None},
        *({**MODELS[1], "name": name, "run": name} for name in names),
    ]
    rows = [ended(name, 0.1 if name == "run-3" else 1.0) for name in ("start", *names)]
    compared = compared_models(rows, models)
    said = report.first_screen(
        {**report.DEFAULTS, "models": models}, compared, list(compared), rows, {}, {}
    )
    wrong = {line["model"]: line["defects"] for line in said["overview"] if line["defects"]}
    assert wrong == {"run-3": ["does not end"]}
