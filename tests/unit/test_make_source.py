"""Making a source against a small server: what is kept, faults, and nothing paid twice."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
from generator_fixture import KEY, arguments, asked, made, run_server, seeds
from test_ingest_source import ingest

import make_source
from sftflow.records import RECORD, read_rows, write_table
from sftflow.replycache import PLACE
from sftflow.rowgroups import place_group
from sftflow.stage import StageError


def reply(body):
    """Rewrite a text by putting 'Kindly: ' before it."""
    text = re.search(r"<text>\n(.*)\n</text>", asked(body), re.DOTALL)[1]
    return text if text.startswith("same") else f"Kindly: {text}"


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAKER_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield from run_server(reply)


def many(folder, number):
    return seeds(folder, *((f"Say the number {n}.", f"It is {n}.") for n in range(number)))


def test_a_row_says_where_it_comes_from(server, tmp_path):
    path = seeds(tmp_path, ("Say hi to 3 men.", "Hi 3!"), ("same text", "b"))
    rows, rejected, manifest = made(tmp_path, server, path, "rewrite")
    assert [m["content"] for m in rows[0]["messages"]] == ["Kindly: Say hi to 3 men.", "Hi 3!"]
    said = rows[0]["made"]
    assert said.pop("requests")[0] in [row[0] for row in known_digests()]
    assert said == {
        "method": "rewrite",
        "operation": "paraphrase",
        "parent": "id1",
        "model": "m",
        "prompt_tokens": 30,
        "completion_tokens": 7,
    }
    assert [(r["file"], r["row"], r["step"], r["reason"]) for r in rejected] == [
        ("seeds.jsonl", 2, "rewrite", "unchanged")
    ]
    assert json.loads(rejected[0]["raw"])["replies"][0]["text"] == "same text"
    used = {k: manifest["counts"][k] for k in ("requests", "prompt_tokens", "completion_tokens")}
    assert used == {"requests": 2, "prompt_tokens": 60, "completion_tokens": 14}
    assert server.keys == [f"Bearer {KEY}"] * 2


def test_a_made_row_is_of_its_parents_group(server, tmp_path):
    path = many(tmp_path, 3)
    rows = [{**row, "group": f"g{row['row']}", "tags": ["a"]} for row in read_rows(path)]
    write_table(path, [*rows[:2], {**rows[2], "group": None, "tags": None}], RECORD)
    found, _, _ = made(tmp_path, server, path, "rewrite")
    labels = [("g1", ["a"]), ("g2", ["a"]), (place_group(rows[2]), None)]
    assert [(row["group"], row["tags"]) for row in found] == labels
    text = (tmp_path / "made/made.jsonl").read_text()
    (tmp_path / "again").mkdir()
    columns = {"group": "group", "tags": "tags"}  # as the workflow reads what was made
    records, _, manifest = ingest(tmp_path / "again", text, columns=columns)
    assert [(row["group"], row["tags"]) for row in records] == labels
    assert set(manifest["counts"]["warnings"]) == {"column_ignored:made"}


def test_another_task_has_no_tags_of_its_parent(server, tmp_path):
    path = many(tmp_path, 1)
    rows = [{**row, "group": "g", "tags": ["a"]} for row in read_rows(path)]
    write_table(path, rows, RECORD)
    server.plan = ["Who was the first queen of the moon?", "There was none.", "yes"]
    (row,), _, _ = made(tmp_path, server, path, "refusals", limits={"concurrency": 1})
    assert (row["group"], row["tags"]) == ("g", None)


def known_digests():
    import sqlite3

    with sqlite3.connect(PLACE) as file:
        return file.execute("SELECT digest FROM replies").fetchall()


def test_a_rerun_asks_nothing_and_leaves_the_same_bytes(server, tmp_path):
    path = many(tmp_path, 30)
    out = tmp_path / "made"
    files = ("made.jsonl", "rejected.parquet", "manifest.json", "SHA256SUMS")
    made(tmp_path, server, path, "rewrite", limits={"concurrency": 7}, rows=20)
    before = [(out / name).read_bytes() for name in files]
    assert len(server.bodies) == 20
    made(tmp_path, server, path, "rewrite", limits={"concurrency": 1}, rows=20)
    assert [(out / name).read_bytes() for name in files] == before
    assert len(server.bodies) == 20
    made(tmp_path, server, path, "rewrite", rows=20, seed=1)
    assert len(server.bodies) == 40


def test_rows_that_are_rejected_are_made_up_for(server, tmp_path):
    path = seeds(tmp_path, *((f"{'same ' * (n % 2)}{'x' * n}", "a") for n in range(1, 31)))
    rows, rejected, _ = made(tmp_path, server, path, "rewrite", rows=10)
    assert len(rows) == 10
    assert len(server.bodies) == 10 + len(rejected) < 30
    made(tmp_path, server, path, "rewrite", rows=10, limits={"concurrency": 1})
    assert len(server.bodies) == 10 + len(rejected)
    rows, rejected, _ = made(tmp_path, server, path, "rewrite", rows=25)
    assert (len(rows), len(rejected)) == (15, 15)  # no more seeds


def test_a_run_that_is_cut_off_goes_on_without_paying_twice(server, tmp_path):
    path = many(tmp_path, 30)
    server.plan = [f"Kindly: {n}" for n in range(12)] + [500] * 100
    with pytest.raises(StageError, match=r"HTTP 500.*what was paid is kept: run again to go on"):
        made(tmp_path, server, path, "rewrite", limits={"max_retries": 0, "concurrency": 2})
    assert not (tmp_path / "made/made.jsonl").exists()
    server.plan, before = [], len(server.bodies)
    _, _, manifest = made(tmp_path, server, path, "rewrite")
    assert manifest["counts"]["requests"] == 30
    assert len(server.bodies) - before == 30 - 12


def test_a_killed_run_has_kept_what_was_paid(server, tmp_path):
    path, limits = many(tmp_path, 40), {"concurrency": 4}
    server.reply = lambda body: time.sleep(0.02) or reply(body)
    command = [sys.executable, make_source.__file__]
    command += arguments(tmp_path, server, path, "rewrite", limits)
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    while len(server.bodies) < 12 and running.poll() is None:
        time.sleep(0.01)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    assert not (tmp_path / "made/made.jsonl").exists()
    rows, _, _ = made(tmp_path, server, path, "rewrite", limits)
    assert len(rows) == 40
    assert len(server.bodies) <= 40 + 4  # what was under way at the kill


def test_what_waits_for_its_minute_does_not_hold_up_the_end(server, tmp_path):
    server.plan = ["Kindly: 0", 401]
    start_s = time.monotonic()
    with pytest.raises(StageError, match="HTTP 401"):
        limits = {"requests_per_minute": 2, "concurrency": 8}
        made(tmp_path, server, many(tmp_path, 30), "rewrite", limits)
    assert time.monotonic() - start_s < 30
    assert len(server.bodies) == 2


def test_too_many_requests_are_tried_again(server, tmp_path):
    server.plan = [429, 503]
    rows, _, _ = made(tmp_path, server, many(tmp_path, 1), "rewrite")
    assert (len(rows), len(server.bodies)) == (1, 3)


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (500, "no_reply"),
        ("GARBAGE", "no_reply"),
        ("  ", "empty"),
        ("Say the num[cut]", "cut_off"),
        ("Say the number 7.", "numbers_changed"),
        ("Rewritten text: say 0", "leftovers"),
        ("0 " * 200, "too_long"),
    ],
)
def test_what_is_not_usable_is_kept_with_its_reason(server, tmp_path, plan, reason):
    server.plan = [plan]
    limits = {"max_retries": 0, "concurrency": 1}
    path = many(tmp_path, 2)
    rows, gone, _ = made(tmp_path, server, path, "rewrite", limits, on_failure="reject")
    assert [r["reason"] for r in gone] == [reason]
    assert gone[0]["detail"]
    assert len(rows) == 1


def test_a_wrong_key_stops_at_once_and_is_named_nowhere(server, tmp_path, caplog):
    server.plan = [401] * 9
    path = many(tmp_path, 3)
    with pytest.raises(StageError, match="HTTP 401; check base_url, model and the key") as caught:
        made(tmp_path, server, path, "rewrite", on_failure="reject")
    server.plan = []
    made(tmp_path, server, path, "rewrite")
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert KEY not in str(caught.value) + caplog.text
    assert KEY.encode() not in written


@pytest.mark.parametrize(
    ("limits", "price", "said"),
    [
        (
            {"max_total_tokens": 1700},
            None,
            "could go over max_total_tokens 1,700 .*paid so far, up to",
        ),
        ({"max_cost": 0.0013}, {"input": 0, "output": 1}, "could go over max_cost 0.0013 "),
    ],
)
def test_it_stops_before_it_costs_too_much(server, tmp_path, limits, price, said):
    path, more = many(tmp_path, 60), {"price_per_million": price}
    with pytest.raises(StageError, match=said):
        made(tmp_path, server, path, "rewrite", limits, **more)
    sent = len(server.bodies)
    assert 0 < sent < 60
    with pytest.raises(StageError, match=said):  # what is paid counts: a rerun spends no more
        made(tmp_path, server, path, "rewrite", limits, **more)
    assert len(server.bodies) == sent
    _, _, manifest = made(tmp_path, server, path, "rewrite", **more)
    assert len(server.bodies) == 60
    assert manifest["counts"].get("cost") == (price and 60 * 7 / 1e6)


def test_nothing_usable_is_an_error(server, tmp_path):
    path = seeds(tmp_path, ("same", "b"))
    with pytest.raises(StageError, match=r"none of 1 generations can be used: 1 unchanged \(e\.g"):
        made(tmp_path, server, path, "rewrite")
    assert (tmp_path / "made/rejected-of-failed-run.parquet").exists()


def test_an_answer_in_other_words(server, tmp_path):
    path = seeds(tmp_path, ("q", "An answer."))
    rows, _, _ = made(tmp_path, server, path, "rewrite", part="answer", styles=["short", "formal"])
    talks = [[m["content"] for m in row["messages"]] for row in rows]
    assert talks == [["q", "Kindly: An answer."]] * 2
    assert [row["made"]["operation"] for row in rows] == ["short", "formal"]
