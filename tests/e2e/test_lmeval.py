"""lm-eval through our server gives what lm-eval gives in this process on the same model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from lmeval_fixture import ROWS, write_dataset, write_model

from sftflow.manifests import canonical_json
from sftflow.stage import StageError

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
SPEC = {
    "model": "toy",
    "suite": "tickets",
    "tasks": ["tickets_json", "tickets_intent"],
    "folder": str(ROOT / "config/tasks"),
    "dataset": "tickets",
    "num_fewshot": None,
    "limit": None,
    "apply_chat_template": True,
}
SERVE = {
    "model": "toy",
    "max_model_len": None,
    "dtype": "float32",
    "gpu_memory_utilization": 0.3,
    "cpu_kvcache_gib": 1,
    "tensor_parallel_size": 1,
    "start_timeout_s": 300,
    "extra_args": [],
    "trust_remote_code": False,
}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Return a folder with a dataset and a model."""
    work = tmp_path_factory.mktemp("benchmark")
    write_model(work / "model", write_dataset(work / "tickets"))
    return work


@pytest.fixture(scope="module")
def served(work):
    """Return the folder with the model's running server."""
    command = stage("serve_model", SERVE, work, model=work / "model", endpoint=work / "server.json")
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (work / "server.json").exists():
        assert server.poll() is None, (work / "serve_model.log").read_text()
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(0.1)
    yield work
    server.send_signal(signal.SIGTERM)
    server.wait(60)


def stage(name, spec, work, **paths):
    command = [sys.executable, str(ROOT / f"scripts/{name}.py"), "--spec", canonical_json(spec)]
    command += ["--log", str(work / f"{name}.log")]
    return command + [part for k, v in paths.items() for part in (f"--{k}", str(v))]


def benchmark(work, name="b", **changes):
    """Run the stage; return its exit status, console, figures and samples."""
    figures, samples = work / f"{name}.json", work / f"{name}.samples.jsonl"
    command = stage(
        "run_benchmark",
        {**SPEC, **changes},
        work,
        endpoint=work / "server.json",
        model=work / "model",
        dataset=work / "tickets",
        benchmark=figures,
        samples=samples,
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        assert not figures.exists() and not samples.exists()
        return done.returncode, done.stderr, None, None
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    return 0, done.stderr, json.loads(figures.read_text()), rows


@pytest.fixture(scope="module")
def in_process(served, tmp_path_factory):
    """Return figures and samples of lm-eval's own transformers backend."""
    os.environ["HF_DATASETS_CACHE"] = str(tmp_path_factory.mktemp("datasets"))
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    import run_benchmark
    from sftflow.benchmark import figures

    own = run_benchmark.own_tasks(SPEC)
    results = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(served / "model"), dtype="float32", device="cpu", batch_size=8),
        tasks=run_benchmark.load_tasks(SPEC, own, served / "tickets"),
        task_manager=TaskManager(include_defaults=False),
        apply_chat_template=True,
        fewshot_as_multiturn=True,
    )
    return figures(results), results["samples"]


def test_server_and_process_agree(served, in_process):
    figures, samples = in_process
    status, said, through, rows = benchmark(served)
    assert status == 0, said
    assert through["limited"] is False
    for task, metrics in figures.items():
        assert metrics.keys() == through["tasks"][task].keys()
        for metric, own in metrics.items():
            assert through["tasks"][task][metric] == pytest.approx(own, abs=0.01), metric
            assert own["n"] == ROWS
    served_rows = {(row["task"], row["doc_id"]): row for row in rows}
    assert len(served_rows) == 2 * ROWS
    for task, own_rows in samples.items():
        for own in own_rows:
            row = served_rows[task, own["doc_id"]]
            assert [a[0] for a in row["arguments"]] == [a[0] for a in own["arguments"]]
            for mine, theirs in zip(row["resps"], own["resps"], strict=True):
                if task == "tickets_json":
                    # cut at max_gen_toks within a character, the server leaves its part out
                    assert mine[0] == theirs[0].rstrip("\ufffd")
                else:
                    assert mine[0][0] == pytest.approx(theirs[0][0], abs=1e-3)
                    assert mine[0][1] == theirs[0][1]


def test_prompts_are_those_of_training_and_server(served, in_process):
    from sftflow.modeltokenizers import load_tokenizer

    tokenizer = load_tokenizer(served / "model")
    for row in in_process[1]["tickets_json"]:
        turns = [{"role": m["role"], "content": m["content"]} for m in row["doc"]["messages"][:-1]]
        expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        assert row["arguments"][0][0] == expected
    assert any(len(row["doc"]["messages"]) > 4 for row in in_process[1]["tickets_json"])


def test_a_limited_run_says_so_and_nothing_holds_the_key(served):
    status, said, through, rows = benchmark(served, "limited", limit=3, num_fewshot=2)
    assert status == 0, said
    assert through["limited"] is True
    assert through["tasks"]["tickets_json"]["exact_match"]["n"] == 3
    assert sum(through["finish"]["tickets_json"].values()) == 3
    assert rows[0]["arguments"][0][0].count("<|im_start|>assistant\n") >= 3
    key = json.loads((served / "server.json").read_text())["api_key"]
    for path in served.iterdir():
        if path.is_file() and path.name != "server.json":
            assert key.encode() not in path.read_bytes(), path.name


def test_a_prompt_that_does_not_fit_is_an_error_and_not_cut(served):
    status, said, *_ = benchmark(served, "long", num_fewshot=ROWS - 1, limit=2)
    assert status == 1
    assert "prompts have up to" in said and "serve.max_model_len" in said


def test_templates_of_tasks_run_in_a_sandbox(served, tmp_path):
    planted = tmp_path / "ran"
    text = (ROOT / "config/tasks/tickets_json.yaml").read_text()
    reach = f"{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}{{{{ open('{planted}') }}}}"
    line = 'doc_to_text: "{{ messages[-2].content }}"'
    assert line in text
    (tmp_path / "t.yaml").write_text(text.replace(line, f'doc_to_text: "{reach}"'))
    status, said, *_ = benchmark(served, "planted", folder=str(tmp_path), tasks=["tickets_json"])
    assert status == 1
    assert "SecurityError" in said
    assert not planted.exists()


PROBLEMS = [
    {
        "question": f"Ann has {n} boxes of {n + 1} pens. How many?",
        "answer": f"Pens.\n#### {n * n + n}",
    }
    for n in range(31, 37)
]
# With the number of a problem's answer, what it is worth by strict-match and flexible-extract.
ANSWERS = {
    "So it is {}.\n#### {}": (1, 1),
    "She has {} pens.": (0, 1),
    "#### ${}": (0, 1),
    "#### {}\nAnd 7 more.": (1, 0),
    "None.": (0, 0),
    "{:,}.": (0, 1),
}


def test_gsm8k_runs_from_a_file_and_scores_as_lm_evals_own(served, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    task = (ROOT / "config/tasks/gsm8k_local.yaml").read_text()
    (tmp_path / "gsm8k_local.yaml").write_text(task)
    lines = "".join(json.dumps(problem) + "\n" for problem in PROBLEMS)
    (tmp_path / "gsm8k_test.jsonl").write_text(lines)
    suite = {"folder": str(tmp_path), "tasks": ["gsm8k_local"], "limit": 3}
    status, said, through, rows = benchmark(served, "gsm8k", **suite)
    assert status == 0, said
    figures = through["tasks"]["gsm8k_local"]
    names = {f"exact_match[{kind}]": 3 for kind in ("strict-match", "flexible-extract")}
    assert {name: figure["n"] for name, figure in figures.items()} == names
    assert f"Question: {PROBLEMS[0]['question']}\nAnswer:" in rows[0]["arguments"][0][0]

    theirs = Path(find_spec("lm_eval").origin).parent / "tasks/gsm8k/gsm8k.yaml"
    own = {k: v for k, v in yaml.safe_load(theirs.read_text()).items() if k != "dataset_name"}
    files = {
        "train": str(tmp_path / "gsm8k_test.jsonl"),
        "test": str(tmp_path / "gsm8k_test.jsonl"),
    }
    own |= {"dataset_path": "json", "dataset_kwargs": {"data_files": files}}
    (tmp_path / "gsm8k.yaml").write_text(yaml.safe_dump(own))
    spec = {**SPEC, **suite, "tasks": ["gsm8k", "gsm8k_local"]}
    import run_benchmark

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    tasks = run_benchmark.load_tasks(spec, run_benchmark.own_tasks(spec), None)
    assert [worth(task) for task in tasks] == [[*map(list, ANSWERS.values())]] * 2


def worth(task):
    """Return what each of ANSWERS is worth to a task by its filters, in their order."""
    found = []
    for problem, answer in zip(PROBLEMS, ANSWERS, strict=True):
        number = int(problem["answer"].rpartition(" ")[2])
        said = SimpleNamespace(resps=[answer.format(number, number)], doc=problem)
        said.filtered_resps = {}
        for kind in task._filters:
            kind.apply([said])
        replies = [said.filtered_resps[kind.name] for kind in task._filters]
        found.append([task.process_results(problem, [one])["exact_match"] for one in replies])
    return found


@pytest.fixture
def model(work):
    """Return the model that lm-eval asks, of a server that is not asked here."""
    from sftflow.lmeval import ServedModel
    from sftflow.modeltokenizers import load_tokenizer

    endpoint = SimpleNamespace(trust_remote_code=False)
    server = SimpleNamespace(
        model="toy",
        url="http://127.0.0.1:9/v1",
        headers={},
        tokenizer=load_tokenizer(work / "model"),
        max_model_len=32,
        endpoint=endpoint,
    )
    return ServedModel(server, chat=True, least_share=0.99)


def choices(task, context, *continuations):
    return [
        SimpleNamespace(task_name=task, args=(context, text), arguments=(context, text))
        for text in continuations
    ]


def test_a_token_over_the_boundary_is_noticed(model):
    whole = model.tok_encode("refund")
    assert len(whole) == 1, "the toy tokenizer should know the word"
    with pytest.raises(StageError, match="task t: for 100% of the choices a token reaches over"):
        model.loglikelihood(choices("t", "my ref", "und"))
    assert model.boundary_shares == {"t": 0.0}


def test_two_bos_tokens_are_noticed_and_one_is_fine(model):
    model.tokenizer.bos_token = "<|endoftext|>"
    bos = model.tokenizer.bos_token_id
    model._check([[bos, 5], [5, bos, bos]], 0)
    with pytest.raises(StageError, match="two BOS tokens"):
        model._check([[5], [bos, bos, 5]], 0)


def test_nothing_is_cut(model):
    # 32 served tokens, of which lm-eval keeps one for an answer: 31 for the prompt
    model._check([[5] * 31], 0)
    with pytest.raises(StageError, match="1 of 2 prompts have up to 32 tokens"):
        model._check([[5] * 31, [5] * 32], 0)
    with pytest.raises(StageError, match="would be cut to 27"):
        model._check([[5] * 28], 4)


def test_answers_that_are_none_are_errors(model):
    model._create_payload([[5, 6]], generate=True, gen_kwargs={"until": ["x"]})
    good = {"index": 0, "text": "a", "finish_reason": "length", "prompt_token_ids": [5, 6]}
    (answer,) = model.parse_generations({"choices": [good]})
    assert (answer, answer.finish_reason) == ("a", "length")
    for change in ({"text": None}, {"finish_reason": "abort"}, {"prompt_token_ids": [5]}):
        with pytest.raises(StageError):
            model.parse_generations({"choices": [{**good, **change}]})


def test_what_is_sent(model):
    body = model._create_payload([[5]], generate=True, gen_kwargs={"until": ["x"]})
    assert (body["temperature"], body["top_p"], body["repetition_penalty"]) == (0, 1, 1)
    assert body["stop"] == ["x", "<|im_end|>"] and body["prompt"] == [[5]]
    assert body["max_tokens"] == 256 and body["seed"] == 1234
    asked = {"until": [], "temperature": 0.7, "max_gen_toks": 9}
    body = model._create_payload([[5]], generate=True, gen_kwargs=asked)
    assert (body["temperature"], body["max_tokens"]) == (0.7, 9)


def test_log_probabilities_of_another_prompt_are_errors(model):
    said = {
        "index": 0,
        "prompt_token_ids": [5, 6],
        "logprobs": {
            "token_logprobs": [None, -0.5, -9.0],
            "top_logprobs": [None, {"token_id:6": -0.5}, {"token_id:1": -9.0}],
        },
    }
    found = model.parse_logprobs({"choices": [said]}, tokens=[[5, 6]], ctxlens=[1])
    assert found == [(-0.5, True)]
    for tokens in ([[5, 7]], [[5, 6, 7]]):
        with pytest.raises(StageError):
            model.parse_logprobs({"choices": [said]}, tokens=tokens, ctxlens=[1])
