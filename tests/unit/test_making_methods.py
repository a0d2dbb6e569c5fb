"""The ways of making data, each against a server that plays its part."""

import json
import re

import pytest
from generator_fixture import KEY, asked, made, run_server, seeds

from sftflow.making import Seed, drawn, seeds_of_prompts, turn
from sftflow.rouge import rouge_l
from sftflow.stage import StageError
from sftflow.words import words


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAKER_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield from run_server(lambda _: "ok")


def talk(row):
    return [m["content"] for m in row["messages"]]


def reasons(rejected):
    return sorted(r["reason"] for r in rejected)


def given(body):
    return asked(body).split("#Given Prompt#:\n")[1]


def evolves(body):
    """Add a word to a prompt; say that 'stuck' prompts stay the same; answer the rest."""
    text = asked(body)
    if "#Given Prompt#" in text:
        return ("new " if "brand new" in text else "") + given(body) + " more"
    if text.startswith("Here are two prompts"):
        return "Equal" if "stuck" in text else "Not equal."
    return f"Answer to {text}"


def test_evolution_goes_on_from_what_it_made(server, tmp_path):
    server.reply = evolves
    path = seeds(tmp_path, ("Count sheep", "1"), ("stuck here", "2"))
    depth = ["constraints", "deepen", "concretise", "reasoning"]
    rows, gone, manifest = made(tmp_path, server, path, "evol_instruct", rounds=3, operations=depth)
    assert [talk(row) for row in rows] == [
        [f"Count sheep{' more' * n}", f"Answer to Count sheep{' more' * n}"] for n in (1, 2, 3)
    ]
    assert reasons(gone) == ["no_gain"] * 3
    assert {row["made"]["parent"] for row in rows} == {"id1"}
    assert manifest["counts"]["requests"] == 3 * 3 + 3 * 2
    assert rows[0]["made"]["completion_tokens"] == 3 * 7


def test_all_five_operations_are_drawn(server, tmp_path):
    server.reply = evolves
    path = seeds(tmp_path, *((f"Question {n}", "a") for n in range(25)))
    rows, _, manifest = made(tmp_path, server, path, "evol_instruct", rounds=2)
    assert set(manifest["counts"]["operations"]) == {
        "constraints",
        "deepen",
        "concretise",
        "reasoning",
        "breadth",
    }
    assert all(
        talk(row)[0].startswith("new") for row in rows if row["made"]["operation"] == "breadth"
    )
    rows, gone, _ = made(tmp_path, server, path, "evol_instruct", rounds=2, rows=9)
    assert (len(rows), reasons(gone)) == (9, ["surplus"])


@pytest.mark.parametrize(
    ("evolved", "answer", "reason"),
    [
        ("count SHEEP", "x", "no_gain"),
        ("#Rewritten Prompt#: count", "x", "leftovers"),
        ("Count more", "I am sorry, that is hard.", "too_hard"),
        ("数更多的羊", "抱歉，我不知道。", "too_hard"),
        ("Count more", "It is the.", "says_nothing"),
        ("Count more", "...", "says_nothing"),
        ("Count more", "  ", "empty"),
    ],
)
def test_the_rules_of_elimination(server, tmp_path, evolved, answer, reason):
    def reply(body):
        text = asked(body)
        if "#Given Prompt#" in text:
            return evolved
        return "Not equal" if text.startswith("Here are two") else answer

    server.reply = reply
    path = seeds(tmp_path, ("Count sheep", "1"))
    with pytest.raises(StageError, match=f"1 {reason} "):
        made(tmp_path, server, path, "evol_instruct", rounds=1)


def test_the_best_candidate_stays(server, tmp_path):
    answers = ["short", "a longer one", "I'm sorry, but I can't help with that.", "the best"]

    def reply(body):
        if body["messages"][0]["role"] == "system":
            said = json.loads(asked(body))["messages"][-1]["content"]
            return json.dumps({"score": 9 if said == "the best" else 4})
        return answers[body["seed"]]

    server.reply = reply
    path = seeds(tmp_path, ("q", "old"))
    rows, gone, _ = made(tmp_path, server, path, "best_of_n", judge_model="j")
    assert [talk(row) for row in rows] == [["q", "the best"]]
    assert rows[0]["made"]["operation"] == "candidate 4"
    assert reasons(gone) == ["not_best", "not_best", "refusal"]
    assert gone[0]["detail"] == "score 4; candidate 4 has score 9"
    judged = [b for b in server.bodies if b["messages"][0]["role"] == "system"]
    assert {(b["model"], b["temperature"]) for b in judged} == {("j", 0)}
    for rank, best in (("longest", "a longer one"), ("shortest", "short")):
        rows, _, _ = made(tmp_path, server, path, "best_of_n", rank=rank)
        assert talk(rows[0]) == ["q", best]
    assert len(server.bodies) == 4 + 3  # the other ranks paid nothing


def test_best_of_n_starts_from_a_file_of_prompts(server, tmp_path):
    path = tmp_path / "prompts.jsonl"
    prompts = [[turn("system", "s"), turn("user", "q1")], [turn("user", "你好")]]
    path.write_text("".join(json.dumps({"messages": p}) + "\n" for p in prompts))
    rows, gone, _ = made(tmp_path, server, path, "best_of_n", rank="longest", candidates=2)
    assert [talk(row) for row in rows] == [["s", "q1", "ok"], ["你好", "ok"]]
    assert reasons(gone) == ["not_best"] * 2
    assert sorted(b["seed"] for b in server.bodies) == [0, 0, 1, 1]
    assert [(s.file, s.row) for s in seeds_of_prompts(path)] == [
        ("prompts.jsonl", n) for n in (1, 2)
    ]


def test_a_judge_that_gives_no_score_ranks_nothing(server, tmp_path):
    path = seeds(tmp_path, ("q", "old"))
    with pytest.raises(StageError, match=r"4 unranked .*holds no score: 'ok'"):
        made(tmp_path, server, path, "best_of_n")


def test_thoughts_are_no_part_of_a_row(server, tmp_path):
    replies = ["<think>score: 7\n</think>\n\nYes.", "<think>it is", '<think>{"score": 1}</think> 9']

    def reply(body):
        return replies[2] if body["messages"][0]["role"] == "system" else replies[body["seed"]]

    server.reply = reply
    path = seeds(tmp_path, ("q", "old"))
    rows, gone, _ = made(tmp_path, server, path, "best_of_n", candidates=2)
    assert [talk(row) for row in rows] == [["q", "Yes."]]
    assert reasons(gone) == ["empty"]


def test_half_an_emoji_is_no_reason_to_stop(server, tmp_path):
    server.reply = lambda _: "Hi \ud83d"
    path = seeds(tmp_path, ("q", "old"))
    rows, _, _ = made(tmp_path, server, path, "best_of_n", candidates=1, rank="longest")
    assert talk(rows[0])[1] == "Hi \ufffd\ufffd\ufffd"


def test_an_endpoint_that_knows_no_seed(server, tmp_path):
    path = seeds(tmp_path, ("q", "old"))
    url = f"http://127.0.0.1:{server.server_port}/v1"
    endpoint = {"base_url": url, "model": "m", "send_seed": False}
    made(tmp_path, server, path, "best_of_n", rank="longest", endpoint=endpoint)
    assert len(server.bodies) == 4  # four draws all the same
    assert all("seed" not in body for body in server.bodies)
    assert KEY not in "".join(server.keys)


NOUNS = ["river", "violin", "planet", "tax", "poem", "cake", "bridge", "virus", "chess", "tram"]


def proposes(body):
    """Number on with tasks of which some are unfit; answer everything else."""
    text = asked(body)
    if not text.startswith("Come up with"):
        return f"Done: {text}"
    first = int(re.search(r"tasks (\d+) to", text)[1])
    nouns = [NOUNS[body["seed"] % 10], NOUNS[(body["seed"] + 3) % 10]]
    tasks = [f"Describe the {n} of {body['seed']} in {n} words now" for n in nouns]
    tasks += ["Say hi", "Draw a picture of a cat on a mat", "Tell me what a seed is, please"]
    return "\n".join(f"{n}. {task}" for n, task in enumerate(tasks, first))


def test_an_endpoint_that_takes_no_temperature(server, tmp_path):
    server.reply = lambda _: '{"score": 3}'
    path = seeds(tmp_path, ("q", "old"))
    url = f"http://127.0.0.1:{server.server_port}/v1"
    endpoint = {"base_url": url, "model": "m", "max_tokens_key": "max_completion_tokens"}
    more = {"temperature": None, "max_tokens": 50, "request": {"top_k": 5}}
    made(tmp_path, server, path, "best_of_n", candidates=1, endpoint=endpoint, **more)
    assert len(server.bodies) == 2
    for body in server.bodies:
        assert (body["max_completion_tokens"], body["top_k"]) == (50, 5)
        assert not {"temperature", "max_tokens"} & set(body)


def test_new_tasks_are_filtered_and_answered(server, tmp_path):
    server.reply = proposes
    path = seeds(tmp_path, *((f"Tell me what a seed is, please {n}", "a") for n in range(9)))
    rows, gone, manifest = made(tmp_path, server, path, "self_instruct", rows=9)
    tasks = [talk(row)[0] for row in rows]
    assert len(tasks) == len(set(tasks)) == 9
    assert [talk(row)[1] for row in rows] == [f"Done: {task}" for task in tasks]
    assert set(reasons(gone)) >= {"length", "not_text", "similar"}
    for n, task in enumerate(tasks):
        assert all(rouge_l(words(task), words(other), 0) < 0.7 for other in tasks[:n])
    assert any("6. " in asked(b) and "of 0 in" in asked(b) for b in server.bodies), "made ones too"
    before = (tmp_path / "made/made.jsonl").read_bytes()
    sent = len(server.bodies)
    assert manifest["counts"]["requests"] == sent
    made(tmp_path, server, path, "self_instruct", {"concurrency": 1}, rows=9)
    assert (tmp_path / "made/made.jsonl").read_bytes() == before
    assert len(server.bodies) == sent


def test_it_ends_where_nothing_new_comes(server, tmp_path):
    replies = iter(["1. Name the tallest hill of Wales", *["nothing"] * 99])
    server.reply = lambda body: next(replies) if asked(body).startswith("Come") else "Snowdon"
    path = seeds(tmp_path, ("Say a word about trees", "a"))
    rows, gone, _ = made(tmp_path, server, path, "self_instruct", {"concurrency": 1}, rows=3)
    assert [talk(row) for row in rows] == [["Name the tallest hill of Wales", "Snowdon"]]
    assert reasons(gone) == ["no_task"] * 5


@pytest.mark.parametrize(
    ("one", "other", "f1"),
    [
        ("a b c d", "a b c d", 1),
        ("a b c d", "a x c y", 0.5),  # 2 of 4 and 4
        ("a b", "a b c d e f", 0.5),  # 2 * 2 / 8
        ("今天天气好", "今天天气坏", 0.8),
        ("a", "", 0),
    ],
)
def test_rouge_l(one, other, f1):
    assert rouge_l(words(one), words(other), 0) == pytest.approx(f1)
    assert (rouge_l(words(one), words(other), 0.7) >= 0.7) == (f1 >= 0.7)


def test_refusals_are_checked(server, tmp_path):
    def reply(body):
        text = asked(body)
        if text.startswith("Below is something"):
            return "Who won in 2091?" if "hills" in text else "Who was Zor Blat?"
        if text.startswith("Here are a question"):
            return "Yes." if "nobody can know" in text else "No, it makes up a life."
        return "That nobody can know." if "2091" in text else "Zor Blat was a king."

    server.reply = reply
    path = seeds(tmp_path, ("Tell of hills", "a"), ("Tell of kings", "b"))
    rows, gone, _ = made(tmp_path, server, path, "refusals", kinds=["future"])
    assert [talk(row) for row in rows] == [["Who won in 2091?", "That nobody can know."]]
    assert rows[0]["made"]["operation"] == "future"
    assert [(r["row"], r["reason"]) for r in gone] == [(2, "not_declined")]
    answering = [b for b in server.bodies if b["messages"][0]["role"] == "system"]
    assert len(answering) == 2


def test_seeds_are_drawn_by_chance_that_stays():
    found = [Seed(f"id{n}", "f", n, [turn("user", "q")]) for n in range(50)]
    assert list(drawn(lambda: found, 0, None)) == found
    order = [s.row for s in drawn(lambda: found, 0, 7)]
    assert sorted(order) == list(range(50)) != order
    assert [s.row for s in drawn(lambda: reversed(found), 0, 7)] == order
    assert [s.row for s in drawn(lambda: found * 2, 0, 7)] == order
    assert [s.row for s in drawn(lambda: found, 0, 30)] == order
    assert [s.row for s in drawn(lambda: found, 1, 7)] != order
