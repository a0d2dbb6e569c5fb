"""Edits of a config unlike the small project's: which jobs are stale by themselves, and no others.

Preference pairs, a search, adapters beside their merged form, a continuation with EWC, answers
while training, judges elsewhere and here, people, examples in the prompt, made data. Nothing is
run (touched.py), so what is told is which stage rests on which key: all edits are made at once,
and each job says which of them are its reasons.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import why
from staleness.project import REPO, prompt
from staleness.touched import finished

pytestmark = pytest.mark.e2e

TRAINING = {"max_steps": 3}
ELSEWHERE = {"base_url": "http://127.0.0.1:9/v1", "model": "teacher"}
CONFIG = {
    "sources": {
        "faq": {"path": ["raw/faq.jsonl"]},
        "pref": {"path": "raw/pref.jsonl", "format": "preference"},
        "made": {"make": {"method": "evol_instruct", "from": "faq", "endpoint": ELSEWHERE}},
    },
    "datasets": {
        "main": {
            "sources": ["faq", "made"],
            "clean": [
                {"step": "semantic_duplicates", "model": "raw/bert"},
                {"step": "judge", **ELSEWHERE, "min_score": 1},
            ],
            "metrics": ["chrf"],
        },
        "pairs": {"sources": ["pref"], "clean": []},
    },
    "bases": {"small": {"template": "chatml", "make": {"max_position_embeddings": 4096}}},
    "runs": {
        "a": {"base": "small", "dataset": "main", "serve": "both", "training": TRAINING},
        "b": {
            "base": "a",
            "dataset": "main",
            "measure": False,
            "training": {**TRAINING, "ewc": {"text": "keep"}},
        },
        "d": {"base": "small", "dataset": "pairs", "measure": False, "dpo": {}},
        "e": {
            "base": "small",
            "dataset": "main",
            "measure": False,
            "training": {**TRAINING, "eval_generation": {}},
        },
        "s": {
            "base": "small",
            "dataset": "main",
            "measure": False,
            "search": {"space": {"lora.r": {"choices": [2, 4]}}, "trials": 2},
        },
    },
    "texts": {"keep": "raw/keep.txt"},
    "judges": {
        "far": {"endpoint": ELSEWHERE},
        "near": {"endpoint": {"model": "small"}, "pairs": [["a", "small"]]},
    },
    "people": {"sheet": {"models": ["a", "small"]}},
    "generation": {"prompts": "raw/prompts.jsonl", "in_context": {"examples": [2]}},
}
MEASURED = ("small", "a", "a+adapter")

# Key -> the value that it gets, what is told of it (its last part, mostly), and whose reason it is.
EDITS: dict[str, tuple[object, str, set[str]]] = {
    "sources.made.make.rounds": (3, "rounds", {"make_source made"}),
    "sources.made.make.limits.concurrency": (2, "concurrency", set()),
    "datasets.main.clean.1.rubric": ("Is it good?", "rubric", {"clean_dataset main"}),
    "datasets.main.clean.1.max_retries": (9, "max_retries", set()),
    "datasets.main.clean.1.timeout_s": (9, "timeout_s", set()),
    "datasets.main.clean.1.api_key_env": ("KEY", "api_key_env", set()),
    "datasets.main.clean.0.model": ("raw/models/bert", "model", set()),
    "datasets.main.clean.0.batch_size": (
        32,
        "batch_size",
        {"clean_dataset main", "map_dataset main"},
    ),
    "datasets.pairs.split": ({"seed": 1}, "seed", {"split_dataset pairs"}),
    "runs.a.merge_dtype": ("float32", "dtype", {"merge_adapter a"}),
    "runs.a.check_memory": (False, "check_memory", set()),
    "runs.b.training.ewc.lambda": (0.5, "lambda", {"train_adapter b"}),
    "runs.d.dpo.beta": (0.2, "beta", {"train_preferences d"}),
    "runs.e.training.eval_generation.rows": (4, "rows", {"train_adapter e"}),
    "runs.s.search.space.lora.r": (
        {"choices": [2, 8]},
        "choices",
        {"suggest_round s 1", "list_trials s"},
    ),
    "judges.far.show_reference": (True, "show_reference", {"judge_pair far a.vs.small"}),
    "judges.near.max_tokens": (64, "max_tokens", {"judge_pair near a.vs.small"}),
    "judges.near.limits.max_retries": (2, "max_retries", set()),
    "people.sheet.rows": (5, "rows", {"make_sheet sheet"}),
    "generation.in_context.seed": (3, "seed", {"answer_in_context small 2"}),
    "generation.concurrency": (
        2,
        "concurrency",
        {"answer_in_context small 2", *(f"generate_answers {model}" for model in MEASURED)},
    ),
    "serve.lora.max_loras": (2, "max_loras", {"measure_latency a+adapter"}),
    "serve.start_timeout_s": (60, "start_timeout_s", set()),
    "memorisation.rows": (7, "rows", {f"measure_loss {model}" for model in MEASURED}),
    "cluster.light_stages": ("local", "light_stages", set()),
}


def write_model(folder: Path, kind: str) -> None:
    """Write the files of a model, as far as the config is checked."""
    folder.mkdir(parents=True)
    for name, said in (("config.json", f'{{"model_type": "{kind}"}}'), ("tokenizer.json", "{}")):
        (folder / name).write_text(said)
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Return a folder with the config and all results that it asks for."""
    folder = tmp_path_factory.mktemp("unlike")
    write_model(folder / "raw/bert", "bert")
    (folder / "raw/faq.jsonl").write_text('{"instruction": "Say it", "output": "it"}\n')
    (folder / "raw/pref.jsonl").write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n')
    (folder / "raw/keep.txt").write_text("A dog ran over the hill.")
    (folder / "raw/prompts.jsonl").write_text(prompt("Say 7 twice"))
    write_config(folder, CONFIG)
    finished(REPO, folder / "config.yaml", folder)
    return folder


def write_config(folder: Path, config: dict) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def edited() -> dict:
    """Return the config with all edits made."""
    config = json.loads(json.dumps(CONFIG))
    for key, (value, _, _) in EDITS.items():
        *path, last = (key.replace("lora.r", "lora/r") if "space" in key else key).split(".")
        place = config
        for name in path:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        place[last.replace("/", ".")] = value
    return config


def stale(folder: Path, monkeypatch) -> dict[str, list[str]]:
    """Return the jobs that are stale by themselves, with what `why` tells of each."""
    monkeypatch.chdir(REPO)
    options = ["--configfile", str(folder / "config.yaml"), "--directory", str(folder)]
    jobs = why.planned(["all", *options])["jobs"]  # as a target, which a user may name
    return {job["name"]: job["reasons"] for job in jobs if job["sure"]}


def test_each_key_makes_stale_exactly_what_rests_on_it(work, monkeypatch):
    (work / "raw/models").mkdir()
    (work / "raw/bert").rename(work / "raw/models/bert")
    write_config(work, edited())
    found = stale(work, monkeypatch)
    found.pop("build_report")  # it shows the config
    expected: dict[str, set[str]] = {}
    for _, told, jobs in EDITS.values():
        for job in jobs:
            expected.setdefault(job, set()).add(told)
    reasons = {
        job: {clause.split(": ")[0].split(".")[-1].split("[")[0] for clause in clauses}
        for job, clauses in found.items()
    }
    assert reasons == expected


def test_the_edits_taken_back_leave_nothing_stale(work, monkeypatch):
    write_config(work, CONFIG)
    if (work / "raw/models/bert").exists():
        (work / "raw/models/bert").rename(work / "raw/bert")
    assert stale(work, monkeypatch) == {}
