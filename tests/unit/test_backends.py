"""A base served here as generator or judge: waited for late, told apart, seen to die."""

import json
import os
import signal
import sqlite3
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from generator_fixture import seeds
from served import Supervisor, until
from steps_fixture import run_step, talk

import clean_dataset
import make_source
from sftflow import backends, judging, serving
from sftflow.backends import ServedBase, Unaskable, served_identity
from sftflow.configschema import fill_defaults, schema
from sftflow.manifests import sha256_file
from sftflow.records import read_rows
from sftflow.replycache import PLACE
from sftflow.stage import StageError

SERVE = {"dtype": "float32", "max_model_len": 64, "tensor_parallel_size": 1, "extra_args": []}


class Tokenizer:
    """One token per message, as the stand-in for vLLM has it; many for what says LONG."""

    chat_template = "any"

    def apply_chat_template(self, messages, **_):
        ids = [len(m["content"]) for m in messages]
        return {"input_ids": ids * (70 if any("LONG" in m["content"] for m in messages) else 1)}


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serving, "talking_tokenizer", lambda _: Tokenizer())
    monkeypatch.setattr(serving, "STALE_S", 0.3)
    monkeypatch.setattr(serving, "NOTICE_S", 1.0)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "SHA256SUMS").write_text("1  model.safetensors\n")
    return folder


@pytest.fixture
def server(model):
    one = Supervisor(model)
    until(one.read)
    yield one
    one.stop()


def arguments(model, path, limits=None, **more):
    entry = {"method": "best_of_n", "from": "x", "endpoint": {"model": "toy"}, **more}
    entry = {"candidates": 1, "rank": "longest", "limits": limits or {}, **entry}
    spec = fill_defaults(entry, schema()["$defs"]["made_source"])
    del spec["from"], spec["endpoint"]["base_url"]
    key = spec["endpoint"].pop("api_key_env")
    limits = {"api_key_env": key, **spec.pop("limits")}
    spec |= {"source": "new", "serve": SERVE}
    out = model.parent / "made"
    argv = ["--spec", json.dumps(spec), "--limits", json.dumps(limits), "--seeds", str(path)]
    argv += ["--endpoint", str(model / "server.json"), "--model", str(model)]
    argv += ["--made", str(out / "made.jsonl"), "--rejected", str(out / "rejected.parquet")]
    return [*argv, "--manifest", str(out / "manifest.json")]


def made(model, path, **more):
    """Run the stage; return (answers, rejected rows, manifest, bytes of every file)."""
    make_source.main(arguments(model, path, **more))
    out = model.parent / "made"
    rows = [json.loads(line) for line in (out / "made.jsonl").read_text().splitlines()]
    answers = [row["messages"][-1]["content"] for row in rows]
    manifest = json.loads((out / "manifest.json").read_text())
    rejected = list(read_rows(out / "rejected.parquet"))
    assert manifest["counts"]["rows_in"] == len(rows) + len(rejected)
    return answers, rejected, manifest, {p.name: p.read_bytes() for p in sorted(out.iterdir())}


def known_replies():
    with sqlite3.connect(PLACE) as file:
        return {row[0] for row in file.execute("SELECT digest FROM replies")}


def test_a_base_makes_rows_and_the_cache_needs_no_server(server, model, tmp_path):
    path = seeds(tmp_path, ("say a", "x"), ("LONG one", "x"), ("say b", "x"))
    answers, rejected, manifest, before = made(model, path)
    assert answers == ["SAY A", "SAY B"]
    assert [(r["row"], r["reason"]) for r in rejected] == [(2, "no_reply")]
    assert rejected[0]["detail"] == (
        "the prompt leaves no room for a reply: it has 70 tokens, toy takes 64 in all"
    )
    assert manifest["counts"]["requests"] == 2  # what can't be asked is no request
    assert set(manifest["inputs"]) == {"seeds", "model"}
    assert manifest["settings"]["endpoint"]["model"] == "toy"
    assert any("vllm" in name for name in manifest["versions"])
    server.stop()
    (model / "server.json").unlink(missing_ok=True)
    assert made(model, path)[-1] == before


def test_two_states_of_a_base_share_no_reply(server, model, tmp_path):
    path = seeds(tmp_path, ("say a", "x"), ("say b", "x"))
    made(model, path)
    once = known_replies()
    (model / "SHA256SUMS").write_text("2  model.safetensors\n")
    made(model, path)
    assert len(known_replies()) == 2 * len(once) == 4


def test_what_tells_generators_apart(model):
    here = served_identity(model, SERVE)
    assert here == served_identity(model, dict(reversed(SERVE.items())))
    assert here != served_identity(model, {**SERVE, "dtype": "bfloat16"})
    assert here != served_identity(model, {**SERVE, "max_model_len": 32})


def test_a_server_that_dies_ends_the_stage_whatever_a_failure_means(server, model, tmp_path):
    """With on_failure: reject every later row would wait, and be rejected, for nothing."""
    path = seeds(tmp_path, *((f"say {n}", "x") for n in range(40)))
    pid = server.reach("serving")["server_pid"]
    ask, asked = ServedBase.complete, []

    def complete(self, **body):
        asked.append(body)
        if len(asked) == 5:
            os.kill(pid, signal.SIGKILL)
        return ask(self, **body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServedBase, "complete", complete)
        limits = {"concurrency": 2, "max_retries": 0}
        with pytest.raises(StageError, match=r"the server of toy is not there.*SIGKILL"):
            made(model, path, limits=limits, on_failure="reject")
    assert len(asked) <= 8
    assert not (tmp_path / "made/made.jsonl").exists()
    assert len(known_replies()) >= 3  # what was answered is kept


def test_a_cut_connection_of_a_server_that_lives_is_a_failed_request(server, model, tmp_path):
    path = seeds(tmp_path, ("connection cu", "x"), ("say b", "x"))  # 13 letters: it is cut
    limits = {"max_retries": 0}
    with pytest.raises(StageError, match=r"a request failed after all retries \(APIConn"):
        made(model, path, limits=limits)
    answers, rejected, _, _ = made(model, path, limits=limits, on_failure="reject")
    assert answers == ["SAY B"] and rejected[0]["detail"] == "APIConnectionError"


def judged(model, folder, *answers, **more):
    """Run the judge step with the base as the judge; return (rows kept, reasons, books)."""
    known = schema()["$defs"]["steps"]["judge"]["properties"]
    defaults = {key: node["default"] for key, node in known.items() if "default" in node}
    server = (model / "server.json", model, SERVE)
    step = {**defaults, "step": "judge", "model": "toy", "min_score": 4, "server": server, **more}
    talks = [talk("q", answer, row) for row, answer in enumerate(answers, 1)]
    kept, gone, books = run_step(folder, step, talks)
    return [r["row"] for r in kept], [said[:3] for said in gone], books


def test_a_base_judges_and_the_cache_needs_no_server(server, model, tmp_path, monkeypatch):
    # The stand-in says in capitals what it is told last: a score, if the row is nothing but one.
    monkeypatch.setattr(judging, "shown_text", lambda record: record["messages"][-1]["content"])
    first = judged(model, tmp_path, "5", "2", "LONG", "nothing", on_unreadable="reject")
    assert first[0] == [1]
    assert [said[:2] for said in first[1]] == [
        (2, "low_score"),
        (3, "unreadable"),
        (4, "unreadable"),
    ]
    assert "leaves no room for a reply" in first[1][1][2]
    books = first[2]
    assert books.totals["verdicts"] == 4
    assert books.facts["model_sha256"] == sha256_file(model / "SHA256SUMS")
    assert any("vllm" in name for name in books.packages)
    server.stop()
    (model / "server.json").unlink(missing_ok=True)
    again = judged(model, tmp_path, "5", "2", "LONG", "nothing", on_unreadable="reject")
    assert again[:2] == first[:2] and again[2].counts() == books.counts()
    (model / "SHA256SUMS").write_text("2  model.safetensors\n")  # another judge: it must be asked
    with pytest.raises(StageError, match="is not the file of a running server"):
        judged(model, tmp_path, "5")


def test_a_cleaning_says_who_judged(server, model, tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "shown_text", lambda record: record["messages"][-1]["content"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    seeds(tmp_path, ("q", "5"), ("q", "2"))
    step = {"step": "judge", "model": "toy", "base_url": None, "min_score": 4, "rubric": "Good?"}
    step |= {"scale": [1, 5], "request": {}}
    spec = {"dataset": "d", "clean": [step], "serve": SERVE, "max_rejected_fraction": 1}
    out = tmp_path / "out"
    argv = ["--spec", json.dumps(spec), "--endpoint", str(model / "server.json")]
    argv += ["--model", str(model), "--sources", str(tmp_path), "--records", f"{out}/c.parquet"]
    argv += ["--rejected", f"{out}/rejected.parquet", "--manifest", f"{out}/manifest.json"]
    clean_dataset.main(argv)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["counts"]["rows_in"], manifest["counts"]["kept"]) == (2, 1)
    assert manifest["counts"]["steps"][0]["model_sha256"] == sha256_file(model / "SHA256SUMS")
    assert manifest["settings"] == spec  # no place of a server in it
    assert any("vllm" in name for name in manifest["versions"])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""  # the server has the GPU
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_a_judge_that_dies_ends_the_cleaning(server, model, tmp_path):
    os.kill(server.reach("serving")["server_pid"], signal.SIGKILL)
    server.process.wait(10)
    with pytest.raises(StageError, match=r"the server of toy is not there.*SIGKILL"):
        judged(model, tmp_path, "good", on_failure="keep", max_retries=0)


class Client:
    """Keeps what it was asked."""

    def __init__(self):
        self.bodies = []
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self.create))

    def create(self, **body):
        self.bodies.append(body)

    def close(self):
        pass


@pytest.mark.parametrize("key", ["max_tokens", "max_completion_tokens"])
def test_a_reply_is_as_long_as_there_is_room(model, monkeypatch, key):
    def count(messages):
        if messages == "refused":
            from jinja2 import TemplateError

            raise TemplateError("no system role")
        return [0] * len(messages)

    @contextmanager
    def served(*_):
        yield SimpleNamespace(model="t", url="", api_key="", max_model_len=64, prompt_ids=count)

    client = Client()
    monkeypatch.setattr(backends, "served", served)
    monkeypatch.setattr(backends, "local_client", lambda *_: client)
    with ServedBase(model, model, SERVE, 0, 1) as base:
        base.complete(messages="x" * 10, **{key: 20})
        base.complete(messages="x" * 60, **{key: 20})
        base.complete(messages="x" * 60, seed=3)
        base.complete(messages="y" * 60, seed=3)
        with pytest.raises(Unaskable, match="it has 64 tokens, t takes 64 in all"):
            base.complete(messages="x" * 64, **{key: 20})
        with pytest.raises(Unaskable, match="the chat template of t refuses it: no system role"):
            base.complete(messages="refused", **{key: 20})
    assert [body.get(key) for body in client.bodies] == [20, 4, None, None]
    assert "seed" not in client.bodies[0]
    assert client.bodies[2]["seed"] != client.bodies[3]["seed"]  # else both draw the same numbers
