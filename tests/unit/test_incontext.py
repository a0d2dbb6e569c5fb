"""Training rows as examples: which, in what order, and never a test row."""

import json
from types import SimpleNamespace

import pytest

import answer_in_context
from sftflow.incontext import check_apart, chooser, drawn, example_of, fitting, with_examples
from sftflow.records import RECORD, content_id, message, write_table
from sftflow.stage import StageError


def row(prompt, answer="yes", *before, tools=None):
    said = [*before, message("user", prompt), message("assistant", answer)]
    record = {"source": "s", "row": 1, "messages": said, "tools": tools}
    return {"id": content_id(record), **record}


def rows(count, **more):
    return [row(f"question {i}", f"answer {i}", **more) for i in range(count)]


def test_the_seed_draws_and_fewer_are_the_beginning_of_more():
    some = rows(50)
    four, eight = ([e.id for e in drawn(some, n, seed=0)] for n in (4, 8))
    assert eight[:4] == four
    assert [e.id for e in drawn(reversed(some), 4, seed=0)] == four
    assert [e.id for e in drawn(some, 4, seed=1)] != four
    assert len({e.id for e in drawn([*some, *some], 60, seed=0)}) == 50


def test_rows_that_can_not_be_turns_of_another_prompt_are_no_examples():
    system = message("system", "Be brief.")
    assert [t["role"] for t in example_of(row("q", "a", system)).turns] == ["user", "assistant"]
    assert example_of(row("q", "a", tools="[]")) is None
    assert example_of(row("q", "")) is None
    assert example_of(row("q", "a", message("user", "two in a row"))) is None
    assert example_of({"id": "x", "messages": [system], "tools": None}) is None


def test_the_own_system_prompt_stays_first_and_examples_stand_before_the_prompt():
    examples = drawn(rows(2), 2, seed=0)
    own = [{"role": "system", "content": "s"}, {"role": "user", "content": "mine"}]
    said = [(m["role"], m["content"]) for m in with_examples(own, examples)]
    shown = [(t["role"], t["content"]) for e in examples for t in e.turns]
    assert said == [("system", "s"), *shown, ("user", "mine")]


@pytest.mark.parametrize(
    ("asked", "best"),
    [("Where is my parcel?", "parcel"), ("我的包裹在哪里", "包裹"), ("login fails again", "login")],
)
def test_the_most_similar_stands_next_to_the_prompt(asked, best):
    texts = ["the parcel is late", "我要退款", "包裹没有到", "cannot login", "a bill twice"]
    pool = drawn([row(text) for text in texts], 5, seed=0)
    chosen = chooser(pool, 2, "similar")([{"role": "user", "content": asked}])
    assert best in chosen[-1].text
    assert len(chosen) == 2


def test_what_does_not_fit_goes_from_the_far_end():
    examples = drawn(rows(4), 4, seed=0)
    prompt = [{"role": "user", "content": "q"}]
    kept = fitting(prompt, examples, lambda messages: len(messages) <= 5)
    assert kept == examples[2:]
    assert fitting(prompt, examples, lambda _: False) == []


def test_a_test_row_among_the_examples_is_an_error():
    examples = drawn(rows(3), 3, seed=0)
    check_apart(examples, [row("another question")], "d")
    with pytest.raises(StageError, match=r"dataset d: the prompt of test row .* training rows too"):
        check_apart(examples, [row("QUESTION  1", "another answer")], "d")


def stage(folder, monkeypatch, train, test, max_model_len=10_000, **more):
    for name, some in (("train", train), ("test", test)):
        write_table(folder / "d" / f"{name}.parquet", some, RECORD)
    asked = []

    def answered(server, prompts, spec):
        asked.extend(prompts)
        return [{"id": p.id, "messages": p.messages, "answer": "x"} for p in prompts]

    server = SimpleNamespace(
        max_model_len=max_model_len,
        prompt_ids=lambda messages, _tools: [0] * sum(len(m["content"]) for m in messages),
    )

    class Served:
        def __enter__(self):
            return server

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(answer_in_context, "served", lambda *_: Served())
    monkeypatch.setattr(answer_in_context, "run", answered)
    one = {"name": "d", "dataset": "d", "split": "test", "path": None, "limit": None}
    spec = {"sets": [one], "max_new_tokens": 8, "examples": 2, "choose": "random", "seed": 0}
    out = folder / "generations.jsonl"
    data = str(folder / "d")
    argv = ["--spec", json.dumps({**spec, **more}), "--endpoint", "x", "--model", "x"]
    argv += ["--datasets", data, "--training", data, "--generations", str(out)]
    answer_in_context.main(argv)
    return asked, [json.loads(line) for line in out.read_text().splitlines()]


def test_the_stage_keeps_the_prompt_and_names_its_examples(tmp_path, monkeypatch):
    train = rows(6)
    asked, left = stage(tmp_path, monkeypatch, train, [row("is it so"), row("or so")])
    assert [len(p.messages) for p in asked] == [5, 5]
    assert [len(r["messages"]) for r in left] == [1, 1]
    assert left[0]["examples"] == left[1]["examples"]
    assert set(left[0]["examples"]) <= {r["id"] for r in train}


def test_the_stage_counts_what_had_no_room(tmp_path, monkeypatch, capfd):
    test = [row("short"), row("long " * 20)]
    _, left = stage(tmp_path, monkeypatch, rows(6), test, max_model_len=120)
    assert [len(r["examples"]) for r in left] == [2, 0]


def test_too_few_training_rows_are_told(tmp_path, monkeypatch):
    with pytest.raises(StageError, match=r"dataset d: 1 training rows .* 2 are asked for; lower"):
        stage(tmp_path, monkeypatch, rows(1), [row("q")])
