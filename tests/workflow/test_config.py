"""Every fault of a config is told at once, a sentence each, before any job."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from broken_config import (
    GOOD,
    assert_one_fault,
    edited,
    faults,
    load,
)

from sftflow.config import load_config
from sftflow.configfile import ConfigFault, read_yaml
from sftflow.configschema import fill_defaults

REPO = Path(__file__).parents[2]
SHIPPED = [REPO / "config/config.yaml", *sorted((REPO / "config/examples").glob("*.yaml"))]

BROKEN = {
    "unknown key": (
        edited(runs__talk_lora__training={"learnin_rate": 1e-4}),
        "runs.talk-lora.training.learnin_rate: unknown key; did you mean 'learning_rate'?",
    ),
    "unknown top key": (edited(run={}), "run: unknown key; did you mean 'runs'?"),
    "wrong type": (
        edited(runs__talk_lora__training={"learning_rate": "fast"}),
        "runs.talk-lora.training.learning_rate: must be a number or null, not 'fast'",
    ),
    "number in quotes": (
        edited(runs__talk_lora__training={"learning_rate": "2e-4"}),
        "'2e-4' is text, not a number or null; write it without quotes, as 0.0002",
    ),
    "yes": (edited(track_versions="yes"), "track_versions: 'yes' is text; write true or false"),
    "out of range": (
        edited(runs__talk_lora__training={"learning_rate": -1.0}),
        "learning_rate: -1.0 is out of range, must be more than 0",
    ),
    "rank 0": (edited(runs__talk_lora__lora={"r": 0}), "lora.r: 0 is out of range, must be at"),
    "alpha 0": (edited(runs__talk_lora__lora={"lora_alpha": 0}), "must be more than 0"),
    "epochs 0": (edited(runs__talk_lora__training={"num_train_epochs": 0}), "must be more than 0"),
    "unknown choice": (
        edited(runs__talk_lora__method="lorra"),
        "runs.talk-lora.method: 'lorra' is not known; did you mean 'lora'?",
    ),
    "missing key": (edited(runs={"a": {"base": "tiny"}}), "runs.a: 'dataset' is missing"),
    "dangling dataset": (
        edited(runs__talk_lora__dataset="tlak"),
        "runs.talk-lora.dataset: there is no dataset 'tlak'; did you mean 'talk'?",
    ),
    "dangling base": (edited(runs__talk_lora__base="large"), "there is no base 'large'"),
    "dangling suite": (edited(runs__talk_lora__suites=["gone"]), "there is no suite 'gone'"),
    "dangling source": (edited(datasets__talk={"sources": ["min"]}), "did you mean 'mine'?"),
    "name with capitals": (
        edited(runs={"Talk": {"base": "tiny", "dataset": "talk"}}),
        "runs: 'Talk' can't be a name",
    ),
    "name that leaves": (
        edited(runs={"../evil": {"base": "tiny", "dataset": "talk"}}),
        "runs: '../evil' can't be a name",
    ),
    "name with a space that nobody sees": (
        edited(runs={"a\u200b": {"base": "tiny", "dataset": "talk"}}),
        r"runs: 'a\u200b' can't be a name",
    ),
    "name with a line end": (
        edited(runs={"evil\n": {"base": "tiny", "dataset": "talk"}}),
        "can't be a name",
    ),
    "made base with code": (
        edited(bases__tiny__trust_remote_code=True),
        "bases.tiny.trust_remote_code: a made base brings no code",
    ),
    "name of two things": (
        edited(runs={"tiny": {"base": "tiny", "dataset": "talk"}}),
        "runs.tiny: a base has the same name",
    ),
    "circle": (
        edited(runs={"a": {"base": "b", "dataset": "talk"}, "b": {"base": "a", "dataset": "talk"}}),
        "go round in a circle",
    ),
    "no such file": (edited(sources__mine__path="gone.jsonl"), "there is no file, folder or match"),
    "two bases in one": (
        edited(bases__tiny__hub="a/b"),
        "bases.tiny: must have one of make, path and hub; it has make and hub",
    ),
    "no base at all": (edited(bases={"tiny": {}}), "it has nothing"),
    "unpinned hub": (edited(bases={"tiny": {"hub": "a/b"}}), "pin the commit of a/b"),
    "short revision": (
        edited(bases={"tiny": {"hub": "a/b", "revision": "main"}}),
        "bases.tiny.revision: 'main' is not a commit",
    ),
    "made base without template": (
        edited(bases={"tiny": {"make": {}}}),
        "a made base has no template of its own; choose chatml",
    ),
    "misspelt template": (edited(bases__tiny__template="chatlm"), "'chatlm' is not a template"),
    "variable of a template that none can be": (
        edited(bases__tiny__chat_template_kwargs={"enable thinking": False}),
        "chat_template_kwargs: 'enable thinking' can't be a template's variable",
    ),
    "value that no template takes": (
        edited(bases__tiny__chat_template_kwargs={"enable_thinking": [1]}),
        "chat_template_kwargs.enable_thinking: must be true or false or a number or text",
    ),
    "tag with its brackets": (
        edited(sources__mine__reasoning_tags=["<think>"]),
        "sources.mine.reasoning_tags[0]: '<think>' is no tag; write its name without < and >",
    ),
    "misspelt use of thinking": (
        edited(runs__talk_lora__reasoning="dropped"),
        "runs.talk-lora.reasoning: 'dropped' is not known; did you mean 'drop'?",
    ),
    "length over positions": (
        edited(runs__talk_lora__max_length=4096, bases__tiny__make={}),
        "4096 is more than the 1024 positions of base 'tiny'",
    ),
    "grid over positions": (
        edited(latency={"prompt_tokens": [1024]}),
        "is more than the 1024 tokens that 'tiny' takes",
    ),
    "a rate of nothing": (
        edited(latency={"rates": [4, 0]}),
        "latency.rates[1]: 0 is out of range, must be more than 0",
    ),
    "a limit by another name": (
        edited(latency={"slo": {"ttft": 200}}),
        "latency.slo.ttft: unknown key; did you mean 'ttft_ms'?",
    ),
    "fewer requests than under way": (
        edited(latency={"requests_per_cell": 2}),
        "latency.requests_per_cell: 2 is fewer than the 4 that latency.concurrency keeps",
    ),
    "empty sweep": (edited(runs__talk_lora__sweep={"lora.r": []}), "is empty"),
    "sweep over nothing": (
        edited(runs__talk_lora__sweep={"lora.rank": [1]}),
        "runs.talk-lora.sweep: 'lora.rank' is no key of a run",
    ),
    "sweep with a bad value": (
        edited(runs__talk_lora__sweep={"lora.r": [8, "big"]}),
        "lora.r: must be a whole number, not 'big'",
    ),
    "duplicate key": ("sources: {}\nsources: {}\n", "config.yaml:2: key 'sources' stands twice"),
    "tab": ("sources:\n\tmine: {}\n", "config.yaml:2: a tab stands where spaces must be"),
    "empty file": ("", "the file is empty"),
    "a list": ("- a\n", "must hold keys and values"),
    "object tag": ("sources: !!python/object/apply:os.system ['true']\n", "could not determine"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_is_told_in_a_sentence(name, tmp_path):
    assert_one_fault(tmp_path, *BROKEN[name])


def test_all_faults_are_told_at_once(tmp_path):
    config = edited(
        runs__talk_lora__method="lorra", track_versions="no", runs__talk_lora__lora={"rank": 3}
    )
    assert len(faults(tmp_path, config)) == 3
    config["datasets"]["talk"]["sources"] = ["gone"]
    config["bases"]["tiny"]["template"] = "nice.jinja"
    told = faults(tmp_path, config)
    assert len(told) == 5, told


def test_the_good_one_is_good(tmp_path):
    run = load(tmp_path, GOOD)["runs"]["talk-lora"]
    assert run["lora"]["r"] == 16
    assert run["training"]["learning_rate"] == 0.0002


def test_scalars_mean_what_a_person_means(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "a: 2e-4\nb: 010\nc: no\nd: 12:30\ne: 1.10\nf: true\ng:\nh: 2024-01-05\ni: -3\n"
    )
    assert read_yaml(path) == {
        "a": 2e-4,
        "b": 10,
        "c": "no",
        "d": "12:30",
        "e": 1.1,
        "f": True,
        "g": None,
        "h": "2024-01-05",
        "i": -3,
    }


def test_writing_defaults_out_changes_nothing():
    once = fill_defaults(copy.deepcopy(GOOD))
    assert fill_defaults(copy.deepcopy(once)) == once


def test_defaults_are_not_shared_between_runs(tmp_path):
    config = edited(runs={n: {**GOOD["runs"]["talk-lora"]} for n in ("a", "b")})
    runs = load(tmp_path, config)["runs"]
    runs["a"]["lora"]["r"] = 1
    assert runs["b"]["lora"]["r"] == 16


def test_a_sweep_becomes_named_runs(tmp_path):
    config = edited(
        runs__talk_lora__sweep={"lora.r": [8, 16], "training.learning_rate": [1e-4, 3e-4]}
    )
    runs = load(tmp_path, config)["runs"]
    assert list(runs) == [
        "talk-lora.r-8.learning_rate-0.0001",
        "talk-lora.r-8.learning_rate-0.0003",
        "talk-lora.r-16.learning_rate-0.0001",
        "talk-lora.r-16.learning_rate-0.0003",
    ]
    assert runs["talk-lora.r-16.learning_rate-0.0003"]["training"]["learning_rate"] == 3e-4


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_config_is_good(path):
    load_config([path])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"messages": [{"role": "user", "content": "q"}]}\n\n{"prompt": "q"}\n', "line 3 is not"),
        ('{"messages": []}\n', "messages must be a list"),
        ("{\n", "line 1 is not a prompt"),
        ("\n", "has no prompts"),
    ],
)
def test_a_prompt_file_is_read_before_anything_runs(tmp_path, text, said):
    (tmp_path / "prompts.jsonl").write_text(text)
    with pytest.raises(ConfigFault) as caught:
        load(tmp_path, edited(generation={"prompts": "prompts.jsonl"}))
    assert len(caught.value.faults) == 1
    assert "generation.prompts: " in caught.value.faults[0]
    assert said in caught.value.faults[0]


def test_gsm8k_is_two_lines_and_a_file(tmp_path):
    (tmp_path / "tasks").mkdir()
    shipped = REPO / "config/tasks/gsm8k_local.yaml"
    (tmp_path / "tasks/gsm8k_local.yaml").write_text(shipped.read_text())
    suite = {"folder": "tasks", "tasks": ["gsm8k_local"], "limit": 200}
    config = edited(suites={"gsm8k": suite}, runs__talk_lora__suites=["gsm8k"])
    said = f"suites.gsm8k.tasks: task gsm8k_local reads {tmp_path}/tasks/gsm8k_test.jsonl"
    assert_one_fault(tmp_path, config, said)
    (tmp_path / "tasks/gsm8k_test.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}')
    load(tmp_path, config)
    config["gates"] = {"rules": ["gsm8k_local.exact_match[flexible-extract] >= 0.3"]}
    load(tmp_path, config)
