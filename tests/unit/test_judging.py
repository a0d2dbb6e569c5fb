"""The judge step against a small server: scores, faults, retries, and nothing paid twice."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from steps_fixture import run_step, talk

from sftflow.configschema import schema
from sftflow.judging import read_score
from sftflow.replycache import PLACE
from sftflow.stage import StageError

KEY = "test-key-of-nobody"


class Server(ThreadingHTTPServer):
    """Gives an answer that says 'good' the score 5 and any other 2; ``plan`` goes before that."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan = []  # statuses, replies or whole bodies (bytes) of the next requests
        self.bodies, self.keys = [], []
        self.lock = threading.Lock()

    def reply(self, body):
        """Return the status and text of the answer to one request."""
        with self.lock:
            self.bodies.append(body)
            planned = self.plan.pop(0) if self.plan else None
        if isinstance(planned, int):
            return planned, f"no, {KEY}"
        good = "good" in json.loads(body["messages"][1]["content"])["messages"][-1]["content"]
        return 200, planned or json.dumps({"score": 5 if good else 2, "reason": "said"})


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.append(self.headers["Authorization"])
        status, text = self.server.reply(body)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
        said = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
        said = {**said, "choices": [choice], "usage": usage}
        if status != 200:
            said = {"error": {"message": text}}
        data = text if isinstance(text, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def options(server, **more):
    known = schema()["$defs"]["steps"]["judge"]["properties"]
    defaults = {key: node["default"] for key, node in known.items() if "default" in node}
    url = f"http://127.0.0.1:{server.server_port}/v1"
    given = {
        "step": "judge",
        "base_url": url,
        "model": "m",
        "min_score": 4,
        "api_key_env": "JUDGE_KEY",
    }
    return {**defaults, **given, **more}


def rows(*answers):
    return [talk("q", answer, row) for row, answer in enumerate(answers, 1)]


def test_scores_decide_and_the_order_stays(server, tmp_path):
    asked = rows("good 1", "bad", "good 2", "bad", *(f"good {i}" for i in range(3, 60)))
    kept, gone, books = run_step(tmp_path, options(server), asked)
    assert [r["row"] for r in kept] == [1, 3, *range(5, 62)]
    assert [said[:2] for said in gone] == [(2, "low_score"), (4, "low_score")]
    assert gone[0][2].startswith("score 2, less than 4: ")
    # Rows 2 and 4 say the same: one question, but both used the verdict.
    assert len(server.bodies) == 60
    assert books.totals == {"verdicts": 61, "prompt_tokens": 61 * 30, "completion_tokens": 61 * 7}
    assert {kind: entry["rows"] for kind, entry in books.found.items()} == {
        "score 5": 59,
        "score 2": 2,
    }
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert server.bodies[0]["temperature"] == 0


def test_a_second_run_asks_nothing_and_another_rubric_asks_again(server, tmp_path):
    first = run_step(tmp_path, options(server), rows("good", "bad"))
    again = run_step(tmp_path, options(server, concurrency=1), rows("good", "bad"))
    assert len(server.bodies) == 2
    assert again[:2] == first[:2]
    assert again[2].counts() == first[2].counts()
    for change in ({"rubric": "Is it short?"}, {"model": "n"}, {"request": {"temperature": 1}}):
        before = len(server.bodies)
        run_step(tmp_path, options(server, **change), rows("good", "bad"))
        assert len(server.bodies) == before + 2


def test_a_run_that_is_cut_off_goes_on_without_paying_twice(server, tmp_path):
    many = rows(*(f"good {i}" for i in range(30)))
    server.plan = [f'{{"score": 5, "n": {i}}}' for i in range(12)] + [500] * 100
    with pytest.raises(StageError, match="what was paid is kept: run again to go on"):
        run_step(tmp_path, options(server, max_retries=0, concurrency=2), many)
    paid = 12
    server.plan, before = [], len(server.bodies)
    kept, _, _ = run_step(tmp_path, options(server), many)
    assert len(kept) == 30
    assert len(server.bodies) - before == 30 - paid


def test_what_is_under_way_when_the_reader_stops_is_kept(server, tmp_path):
    def broken():
        yield from rows(*(f"good {i}" for i in range(5)))
        raise RuntimeError("power cut")

    from sftflow.cleaning import cleaned

    stream, _ = cleaned(broken(), [options(server, concurrency=5)], tmp_path, pytest.fail)
    with pytest.raises(RuntimeError, match="power cut"):
        list(stream)
    sent = len(server.bodies)
    assert sent > 0
    run_step(tmp_path, options(server), rows(*(f"good {i}" for i in range(5))))
    assert len(server.bodies) == 5


def test_too_many_requests_are_tried_again(server, tmp_path):
    server.plan = [429, 429, 503]
    kept, _, _ = run_step(tmp_path, options(server, concurrency=1), rows("good"))
    assert (len(kept), len(server.bodies)) == (1, 4)


@pytest.mark.parametrize(
    ("plan", "more", "reason"),
    [
        (["I like it"], {"on_unreadable": "reject"}, "unreadable"),
        (["I like it"], {"on_unreadable": "keep"}, None),
        (['{"score": 9}'], {"on_unreadable": "reject"}, "unreadable"),
        ([500], {"on_failure": "reject"}, "no_verdict"),
        ([500], {"on_failure": "keep"}, None),
    ],
)
def test_no_verdict(server, tmp_path, plan, more, reason):
    server.plan = list(plan)
    _, gone, books = run_step(tmp_path, options(server, max_retries=0, **more), rows("good"))
    assert [said[1] for said in gone] == [reason] * bool(reason)
    assert list(books.found) == ["no_verdict" if plan == [500] else "unreadable"]
    # A reply was paid for, so it is not asked for again; a failure was not.
    run_step(tmp_path, options(server, max_retries=0, **more), rows("good"))
    assert len(server.bodies) == 1 + (plan == [500])


def said(**choice):
    return json.dumps({"choices": [{"index": 0, "finish_reason": "stop", **choice}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>log in</html>",
        b"null",
        b'"text"',
        b"[1]",
        b"{}",
        b'{"choices": null}',
        b'{"choices": [null]}',
        said(message=None),
        said(message={"content": 5}),
        said(message={"content": ["x"]}),
        said(text="of another API"),
        said(message={"content": f'{{"score": 5}} asked with Bearer {KEY}'}),
        b'{"error": {"message": "Bearer %s"}}' % KEY.encode(),
    ],
)
def test_a_reply_that_is_no_completion_is_a_sentence(server, tmp_path, caplog, body):
    """As of a proxy's login page. One that echoes the key is not kept, for results hold replies."""
    server.plan = [body]
    with pytest.raises(StageError, match="judge: no verdict on s f:1 after all retries") as caught:
        run_step(tmp_path, options(server, max_retries=0), rows("good"))
    assert caught.value.__suppress_context__
    assert KEY not in str(caught.value) + caplog.text
    assert KEY.encode() not in PLACE.read_bytes()
    kept, _, _ = run_step(tmp_path, options(server), rows("good"))
    assert (len(kept), len(server.bodies)) == (1, 2)


def test_half_a_character_in_a_reply_is_kept_as_what_can_be_stored(server, tmp_path):
    server.plan = [said(message={"content": '{"score": 5} \ud83d'})]
    kept, _, _ = run_step(tmp_path, options(server), rows("good"))
    assert len(kept) == 1


def test_a_wrong_key_stops_at_once_and_is_named_nowhere(server, tmp_path, caplog):
    server.plan = [401] * 9
    with pytest.raises(StageError, match="HTTP 401; check base_url, model and the key") as caught:
        run_step(tmp_path, options(server, on_failure="keep"), rows("good"))
    server.plan = []
    _, gone, _ = run_step(tmp_path, options(server, concurrency=1), rows("bad"))
    assert KEY not in str(caught.value) + caplog.text + json.dumps(gone)
    assert KEY.encode() not in PLACE.read_bytes()


def test_the_line_end_of_a_key_from_a_file_is_no_part_of_it(server, tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", f"{KEY}\r\n")
    assert len(run_step(tmp_path, options(server), rows("good"))[0]) == 1
    for planted in (f"{KEY}\nX-Other: 1", f"\u201c{KEY}\u201d"):
        monkeypatch.setenv("JUDGE_KEY", planted)
        with pytest.raises(StageError, match="JUDGE_KEY holds a character that no key") as caught:
            run_step(tmp_path, options(server, on_failure="keep"), rows("good"))
        assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"api_key_env": "NOT_SET_HERE"}, "environment variable NOT_SET_HERE is not set"),
        ({"base_url": "http://me:pw@127.0.0.1/v1"}, "base_url holds a password"),
        ({"min_score": 6}, "min_score 6 is not within the scale 1 to 5"),
        ({"base_url": "http://127.0.0.1:9/v1", "max_retries": 0}, "no verdict on s f:1 .*APIConn"),
    ],
)
def test_settings_that_cannot_work(server, tmp_path, more, said):
    with pytest.raises(StageError, match=said):
        run_step(tmp_path, options(server, **more), rows("good"))


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ('{"score": 4, "reason": "x"}', 4),
        ('```json\n{"score": "3.5"}\n```', 3.5),
        (" 5 ", 5),
        ('{"score": 0}', None),
        ("4 out of 5", None),
        ("Score: 4", None),
        ("", None),
    ],
)
def test_read_score(reply, score):
    assert read_score(reply, [1, 5]) == score
