"""Real vLLM behind the supervisor, with a random model of 0.3 M parameters.

One start serves the tests of use; each way of dying needs a start of its own or ends this one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from sftflow.endpoint import process_start, read_endpoint
from sftflow.guardian import group_members
from sftflow.manifests import sha256_file
from sftflow.records import RECORD, content_id, message, write_table

pytestmark = pytest.mark.e2e

SCRIPTS = Path(__file__).parents[2] / "scripts"
GONE_S = 12.0
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPEC = {
    "model": "toy",
    "max_model_len": 256,
    "dtype": "float32",
    "gpu_memory_utilization": 0.5,
    "cpu_kvcache_gib": 1,
    "tensor_parallel_size": 1,
    "start_timeout_s": 300,
    "extra_args": [],
    "trust_remote_code": False,
}
GRID = {
    "model": "toy",
    "prompt_tokens": [8, 16, 64],
    "output_tokens": [4, 12],
    "concurrency": [1, 3],
    "requests_per_cell": 6,
    "warmup_requests": 8,
    "rates": [20.0],
    "requests_per_rate": 12,
    "seed": 1,
}
ANSWERS = {
    "model": "toy",
    "sets": [{"name": "t", "dataset": "t", "split": "test", "path": None, "limit": None}],
    "max_new_tokens": 12,
    "concurrency": 4,
}


def save_tokenizer(folder):
    """Save a byte-level BPE whose ids are the same through AutoTokenizer and its own file.

    transformers puts Qwen2's pre-tokenizer in place of any other for this model type, so what
    AutoTokenizer makes of the first save is saved again.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(["the quick brown fox jumps over the lazy dog, 12345 times"], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    own, auto = (
        Tokenizer.from_file(f"{folder}/tokenizer.json"),
        AutoTokenizer.from_pretrained(folder),
    )
    for text in ("hello 12", "a  b\n\nc\t1234", "é 😀"):
        assert own.encode(text).ids == auto(text, add_special_tokens=False).input_ids
    return auto


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("model")
    Qwen2Config().save_pretrained(folder)  # which AutoTokenizer goes by
    tokenizer = save_tokenizer(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,  # heads of 32: vLLM's attention on CPUs has no smaller ones
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,  # far enough from uniform that float noise can't turn an argmax
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


class Stage:
    """The supervisor and its users on one model."""

    def __init__(self, model, folder):
        self.model, self.folder, self.path = model, folder, folder / "server.json"
        self.supervisor = self.start("serve_model", SPEC)

    def start(self, stage, spec, *more):
        log = self.folder / f"{stage}.log"
        command = [sys.executable, SCRIPTS / f"{stage}.py", "--spec", json.dumps(spec)]
        command += ["--log", log, "--endpoint", self.path, "--model", self.model, *more]
        return subprocess.Popen(
            [str(part) for part in command],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def latency(self, **more):
        latency, rows = self.folder / "latency.json", self.folder / "requests.parquet"
        return self.start(
            "measure_latency", {**GRID, **more}, "--latency", latency, "--requests", rows
        )

    def answers(self, dataset):
        out = self.folder / "generations.jsonl"
        return self.start("generate_answers", ANSWERS, "--datasets", dataset, "--generations", out)

    def serving(self):
        end_s = time.monotonic() + 300
        while time.monotonic() < end_s and self.supervisor.poll() is None:
            if self.path.exists() and (server := read_endpoint(self.path)).state == "serving":
                return server
            time.sleep(0.2)
        raise AssertionError((self.folder / "serve_model.log").read_text())

    def gone(self, server):
        """Return the seconds until no process of the server is left."""
        start_s = time.monotonic()
        while group_members(server.server_pid) or process_start(server.pid):
            assert time.monotonic() - start_s < GONE_S, group_members(server.server_pid)
            time.sleep(0.1)
        return time.monotonic() - start_s

    def close(self):
        if self.supervisor.poll() is None:
            self.supervisor.terminate()
        self.supervisor.wait(30)


def engine(server):
    """Return the pid of vLLM's engine."""
    for pid in group_members(server.server_pid):
        if "EngineCore" in " ".join(psutil.Process(pid).cmdline()):
            return pid
    raise AssertionError("no engine")


@pytest.fixture(scope="module")
def stage(model, tmp_path_factory):
    one = Stage(model, tmp_path_factory.mktemp("served"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "t"
    folder.mkdir()
    rows = []
    for i in range(12):
        said = [message("user", f"Fox {i * 37}, the café?\n\n"), message("assistant", f"dog {i}")]
        record = {"source": "s", "row": i, "messages": said, "tools": None}
        rows.append({"id": content_id(record), **record})
    write_table(folder / "test.parquet", rows, RECORD)
    return folder


def succeeded(process):
    error = process.communicate(timeout=400)[1]
    assert process.returncode == 0, error


def test_users_share_one_start_and_latency_is_alone(stage, dataset):
    """Both begin before the server is ready; the server's own count proves the rest."""
    users = [stage.latency(), stage.answers(dataset)]
    for user in users:
        succeeded(user)
    latency = json.loads((stage.folder / "latency.json").read_text())
    assert len(latency["cells"]) == 12
    assert latency["server_view"]["requests"] == 72 + 12
    assert latency["server_view"]["prefix_cache_hits"] == 0
    rows = pq.read_table(stage.folder / "requests.parquet").to_pylist()
    assert len(rows) == 84 and all(r["ok"] and r["ttft_ms"] <= r["e2e_ms"] for r in rows)
    assert {r["cell"] for r in rows} == {*range(12), None}
    assert all(len(r["itl_ms"]) < r["output_tokens"] for r in rows)
    arrived = [r for r in rows if r["rate_per_s"] == 20]
    assert len(arrived) == 12 and all(r["start_s"] >= r["due_s"] for r in arrived)
    (rate,) = latency["rates"]
    assert rate["in_flight"]["mean"] > 0 and rate["queue_mean_ms"] >= 0
    assert [one["concurrency"] for one in latency["client"]] == [1, 3]
    assert all(0 < cell["client_share"]["ttft"] < 1 for cell in latency["cells"])
    took = latency["footprint"]
    assert took["start_s"] > 0 and took["processes"] >= 2 and took["gpu_memory_mib"] is None
    assert took["peak_rss_mib"] >= took["pss_mib"] > 100
    assert took["kv_cache_tokens"] > 256
    fit = latency["fit"]
    assert fit["concurrency"] == 1 and fit["n"] == 36
    assert fit["k_ms_per_token"]["low"] < fit["k_ms_per_token"]["high"]


def test_answers_are_the_models_own_greedy_ones(stage, dataset, model):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    succeeded(stage.answers(dataset))
    log = (stage.folder / "generate_answers.log").read_text()
    assert "the server reads 12 rows as they are trained" in log
    rows = [json.loads(s) for s in (stage.folder / "generations.jsonl").read_text().splitlines()]
    assert [r["reference"] for r in rows] == [f"dog {i}" for i in range(12)]
    tokenizer = AutoTokenizer.from_pretrained(model)
    own = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    for row in rows:
        ids = tokenizer.apply_chat_template(
            row["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        assert row["prompt_tokens"] == ids["input_ids"].shape[1]
        with torch.no_grad():
            out = own.generate(**ids, do_sample=False, max_new_tokens=12)[0]
        answer = out[ids["input_ids"].shape[1] :]
        # vLLM keeps back the bytes of a character that is not complete.
        said = tokenizer.decode(answer, skip_special_tokens=True).rstrip("\ufffd")
        assert row["answer"] == said
        assert row["completion_tokens"] == len(answer)


PROMPT = (
    "{% block system %}Which is better?{% endblock %}"
    "{% block user %}{{ question }} A: {{ answer_a }} B: {{ answer_b }}{% endblock %}"
)
JUDGE = {
    "judge": "own",
    "models": ["one", "other"],
    "endpoint": {"model": "toy", "max_tokens_key": "max_tokens", "send_seed": True},
    "rows": None,
    "prompt": "prompt.jinja",
    "show_reference": False,
    "seed": 0,
    "temperature": 0,
    "max_tokens": 8,
    "request": {"structured_outputs": {"choice": ["[[A]]", "[[B]]", "[[C]]"]}},
    "on_failure": "stop",
    "price_per_million": None,
    "serve": {"dtype": "float32"},
}
LIMITS = {
    "concurrency": 4,
    "requests_per_minute": None,
    "tokens_per_minute": None,
    "max_total_tokens": None,
    "max_cost": None,
    "max_retries": 2,
    "timeout_s": 120,
    "api_key_env": None,
}


def test_the_same_start_answers_in_context_and_judges(stage, dataset, model):
    """A judge of answers has a share of its own in a workflow; here it uses what runs."""
    said = [message("user", "What does the dog do?"), message("assistant", "lazy")]
    record = {"source": "s", "row": 1, "messages": said, "tools": None}
    training, folder = stage.folder / "training", stage.folder
    training.mkdir()
    write_table(training / "train.parquet", [{"id": content_id(record), **record}], RECORD)
    asked = {**ANSWERS, "examples": 1, "choose": "random", "seed": 0}
    out = folder / "in_context.jsonl"
    folders = ("--datasets", dataset, "--training", training)
    answers = stage.start("answer_in_context", asked, *folders, "--generations", out)

    (folder / "prompt.jinja").write_text(PROMPT)
    (model / "SHA256SUMS").write_text(f"{sha256_file(model / 'config.json')}  config.json\n")
    texts = [[{"role": "user", "content": f"Say {i}"}] for i in range(6)]
    for name in ("one", "other"):
        rows = [
            {"set": "t", "id": str(i), "messages": m, "reference": None, "answer": f"{name} {i}"}
            for i, m in enumerate(texts)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    command = [sys.executable, SCRIPTS / "judge_pair.py", "--spec", json.dumps(JUDGE)]
    command += ["--limits", json.dumps(LIMITS), "--answers", "one.jsonl", "other.jsonl"]
    command += ["--endpoint", stage.path, "--model", model]
    command += ["--verdicts", "verdicts.jsonl", "--result", "win_rate.json"]
    judged = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stderr
    succeeded(answers)

    plain = [json.loads(s) for s in (folder / "generations.jsonl").read_text().splitlines()]
    shown = [json.loads(s) for s in out.read_text().splitlines()]
    assert [r["messages"] for r in shown] == [r["messages"] for r in plain]
    assert all(r["examples"] == [content_id(record)] for r in shown)
    assert all(r["prompt_tokens"] > p["prompt_tokens"] for r, p in zip(shown, plain, strict=True))
    result = json.loads((folder / "win_rate.json").read_text())
    assert (result["all"]["n"], result["all"]["unreadable"]) == (6, 0)
    assert result["used"]["requests"] == 12
    verdicts = [json.loads(s) for s in (folder / "verdicts.jsonl").read_text().splitlines()]
    assert {a["reply"] for row in verdicts for a in row["asked"]} <= {"[[A]]", "[[B]]", "[[C]]"}


def test_nothing_but_a_sign_of_life_is_told_without_the_key(stage):
    server = stage.serving()

    def status(path, data=None, key=None):
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(server.root + path, data, headers)
        try:
            return urllib.request.urlopen(request, timeout=10).status
        except urllib.error.HTTPError as error:
            return error.code

    body = json.dumps({"model": "toy", "prompt": "a", "max_tokens": 1}).encode()
    closed = ("/v1/completions", "/invocations", "/tokenize", "/metrics", "/docs", "/v1/models")
    for path in closed:
        assert status(path) == status(path, body) == status(path, body, "wrong") == 401, path
    assert status("/health") == 200
    assert status("/v1/completions", body, server.api_key) == 200
    assert status("/docs", key=server.api_key) == 404


def test_the_server_listens_on_loopback_and_its_key_is_nowhere(stage):
    server = stage.serving()
    listening = {
        c.laddr.ip
        for pid in group_members(server.server_pid)
        for c in psutil.Process(pid).net_connections("inet")
        if c.status == psutil.CONN_LISTEN and c.laddr.port == server.port
    }
    assert listening == {"127.0.0.1"}
    commands = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    written = [p for p in stage.folder.rglob("*") if p.is_file() and p != stage.path]
    assert not any(server.api_key in text for text in commands)
    assert not any(server.api_key.encode() in path.read_bytes() for path in written)


def test_the_engine_has_not_imported_all_again(stage):
    """vLLM spawns it, and Python then starts a tracker of what processes share; ours is a fork."""
    members = group_members(stage.serving().server_pid)
    commands = [" ".join(psutil.Process(pid).cmdline()) for pid in members]
    assert len(members) >= 2 and not any("resource_tracker" in text for text in commands)


def test_kill_9_of_the_supervisor_leaves_no_process(stage):
    """The last of this start."""
    server = stage.serving()
    environment = psutil.Process(server.server_pid).environ()
    assert len(group_members(server.server_pid)) >= 2
    os.kill(server.pid, signal.SIGKILL)
    stage.supervisor.wait(10)
    assert stage.gone(server) < GONE_S
    end_s = time.monotonic() + 5
    while Path(environment["TMPDIR"]).exists() and time.monotonic() < end_s:
        time.sleep(0.1)
    assert not Path(environment["TMPDIR"]).exists()


def test_a_killed_engine_fails_its_user_and_the_supervisor(model, dataset, tmp_path):
    stage = Stage(model, tmp_path)
    try:
        server = stage.serving()
        user = stage.latency(requests_per_cell=300)
        log = tmp_path / "measure_latency.log"
        while not log.exists() or " requests, " not in log.read_text():  # it measures
            assert user.poll() is None
            time.sleep(0.1)
        os.kill(engine(server), signal.SIGKILL)
        error = user.communicate(timeout=60)[1]
        assert user.returncode == 1 and "the server of toy is not there" in error
        assert not (tmp_path / "latency.json").exists()
        assert stage.supervisor.wait(30) == 1
        assert json.loads(stage.path.read_text())["state"] == "dead"
        assert stage.gone(server) < GONE_S
    finally:
        stage.close()
