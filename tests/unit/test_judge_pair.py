"""The judge of answers against a small server: blind, both orders, nothing asked twice."""

import json

import pytest
from generator_fixture import KEY, asked, run_server

import judge_pair
from sftflow.configschema import fill_defaults, schema
from sftflow.judgeprompts import SHIPPED, judge_messages, read_template, read_verdict
from sftflow.replycache import PLACE
from sftflow.stage import StageError

MODELS = ["secret-tuned", "secret-base"]
START_A, START_B = "[The Start of Assistant A's Answer]", "[The Start of Assistant B's Answer]"


def shown(body):
    """Return the two answers of a request, in the order shown."""
    _, first, second = asked(body).replace(START_B, START_A).split(START_A)
    return first, second


def fair(body):
    """Prefer the answer that says good; else a tie."""
    good = ["good" in text for text in shown(body)]
    letter = "C" if good[0] == good[1] else "A" if good[0] else "B"
    return f"Both are answers. [[{letter}]]"


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield from run_server(fair)


def answers(folder, name, said, set_="t"):
    path = folder / f"{name}.jsonl"
    rows = [
        {
            "set": set_,
            "id": f"id{i}",
            "messages": [{"role": "user", "content": f"question {i}"}],
            "reference": f"reference {i}",
            "answer": text,
        }
        for i, text in enumerate(said)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)


def judged(folder, server, ones, others, **more):
    """Run the stage; return (verdicts by id, win_rate.json)."""
    limits = {"limits": more.pop("limits", {})}
    url = f"http://127.0.0.1:{server.server_port}/v1"
    endpoint = {"base_url": url, "model": "m", "api_key_env": "JUDGE_KEY"}
    entry = fill_defaults({"endpoint": endpoint, **limits, **more}, schema()["$defs"]["judge"])
    limits = {"api_key_env": entry["endpoint"].pop("api_key_env"), **entry.pop("limits")}
    spec = {**entry, "judge": "severe", "models": MODELS}
    paths = [answers(folder, f"a{i}", said) for i, said in enumerate((ones, others))]
    out = folder / "judged"
    argv = ["--spec", json.dumps(spec), "--limits", json.dumps(limits), "--answers", *paths]
    argv += ["--verdicts", str(out / "verdicts.jsonl"), "--result", str(out / "win_rate.json")]
    judge_pair.main(argv)
    rows = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    return {row["id"]: row for row in rows}, json.loads((out / "win_rate.json").read_text())


def test_both_orders_decide_and_names_are_shown_nowhere(server, tmp_path):
    ones = ["good", "good", "bad", "same", "meh"]
    rows, result = judged(tmp_path, server, ones, ["bad", "bad", "good", "same ", "poor"])
    winners = [rows[f"id{i}"]["winner"] for i in range(5)]
    assert winners == [MODELS[0], MODELS[0], MODELS[1], "tie", "tie"]
    assert rows["id3"]["outcome"] == "identical" and rows["id3"]["asked"] == []
    assert [said["verdict"] for said in rows["id0"]["asked"]] == ["first", "second"]
    assert len(server.bodies) == 2 * 4
    said = json.dumps(server.bodies)
    assert "secret" not in said and "severe" not in said and "reference 1" not in said
    every = result["all"]
    assert (every["n"], every["identical"], every["rows"]) == (5, 1, 5)
    assert every["win_rate"]["value"] == (2 + 2 * 0.5) / 5
    assert every["position"]["consistent"]["value"] == 1.0


def test_a_judge_that_prefers_a_place_gives_ties_and_is_found_out(server, tmp_path):
    server.reply = lambda _: "[[A]]"
    ones, others = ([f"{name} {i}" for i in range(20)] for name in ("x", "y"))
    rows, result = judged(tmp_path, server, ones, others)
    assert {row["winner"] for row in rows.values()} == {"tie"}
    place = result["all"]["position"]
    assert (place["first"]["value"], place["consistent"]["value"]) == (1.0, 0.0)
    assert place["first_place"]["low"] > 0.5


def test_nothing_is_asked_twice_and_another_prompt_is(server, tmp_path):
    ones, others = ["good", "bad"], ["bad", "good"]
    first = judged(tmp_path, server, ones, others)
    assert judged(tmp_path, server, ones, others) == first
    assert len(server.bodies) == 4
    own = tmp_path / "own.jinja"
    own.write_text(SHIPPED.read_text().replace("impartial judge", "strict teacher"))
    judged(tmp_path, server, ones, others, prompt=str(own))
    assert len(server.bodies) == 8
    judged(tmp_path, server, ones, others, show_reference=True)
    assert "reference 1" in json.dumps(server.bodies[8:])


def test_what_has_no_verdict_is_counted_and_not_a_tie(server, tmp_path):
    server.plan = ["I can't say"] * 2
    rows, result = judged(
        tmp_path, server, ["good", "good", None], ["bad", "bad", "x"], limits={"concurrency": 1}
    )
    outcomes = sorted(row["outcome"] for row in rows.values())
    assert outcomes == ["judged", "unanswered", "unreadable"]
    every = result["all"]
    assert (every["n"], every["unreadable"], every["unanswered"]) == (1, 1, 1)
    assert every["win_rate"]["value"] == 1.0


def test_no_verdict_at_all_is_null_and_not_zero(server, tmp_path):
    server.reply = lambda _: "hm"
    _, result = judged(tmp_path, server, ["a"], ["b"])
    assert result["all"]["win_rate"]["value"] is None
    assert result["all"]["p_value"] is None


def test_a_failure_stops_or_is_counted_and_gives_the_key_away_nowhere(server, tmp_path):
    limits = {"max_retries": 0, "concurrency": 1}
    server.plan = [500]
    with pytest.raises(StageError, match=r"judge severe: a request failed.*run again") as caught:
        judged(tmp_path, server, ["good"], ["bad"], limits=limits)
    server.plan = [500]
    rows, _ = judged(tmp_path, server, ["good"], ["bad"], limits=limits, on_failure="reject")
    assert rows["id0"]["outcome"] == "no_reply"
    written = "".join(p.read_text(errors="replace") for p in (tmp_path / "judged").iterdir())
    assert KEY not in str(caught.value) + written
    assert KEY.encode() not in PLACE.read_bytes()


def test_money_is_bounded(server, tmp_path):
    price = {"input": 1.0, "output": 1.0}
    with pytest.raises(StageError, match="judge severe: the next request could go over max_cost"):
        judged(
            tmp_path,
            server,
            ["good"],
            ["bad"],
            limits={"max_cost": 0.0001},
            price_per_million=price,
        )
    assert server.bodies == []


def test_rows_are_chosen_by_their_ids(server, tmp_path):
    ones, others = ([f"{name} {i}" for i in range(9)] for name in ("x", "y"))
    few, _ = judged(tmp_path, server, ones, others, rows=3)
    more, _ = judged(tmp_path, server, ones, others, rows=5)
    assert len(few) == 3 and set(few) < set(more)


def test_models_without_a_common_prompt_are_told(server, tmp_path):
    with pytest.raises(StageError, match="were not given the same prompts"):
        judged(tmp_path, server, ["a"], [])


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("A is clear. [[A]]", "first"),
        ('"[[A]]" if A is better ... so: [[B]]', "second"),
        ("[[C]]", "tie"),
        (" B.", "second"),
        ("[[ A ]]", "first"),
        ("A is better", None),
        ("", None),
    ],
)
def test_read_verdict(reply, verdict):
    assert read_verdict(reply) == verdict


def test_the_shipped_prompt_shows_everything_once_and_text_stays_text():
    template = read_template(SHIPPED)
    system, user = judge_messages(template, "{{ 7 * 7 }}", "first <b>", "second", None)
    assert (system["role"], user["role"]) == ("system", "user")
    assert '"[[A]]" if assistant A is better' in system["content"]
    assert "{{ 7 * 7 }}" in user["content"] and "first <b>" in user["content"]
    assert "Reference" not in user["content"]
    assert (
        "[The Start of Reference Answer]\nr\n"
        in judge_messages(template, "q", "a", "b", "r")[1]["content"]
    )
