"""The adapter of the default's run on a server for adapters, beside the merged model.

It uses the finished default and asks for the adapter's measurements only, on a small grid: one
more start of vLLM.
"""

from __future__ import annotations

import json
import re

import pytest
import yaml

from workflow import REPO, finish

pytestmark = pytest.mark.e2e
MERGED, ADAPTER = "tickets-lora", "tickets-lora+adapter"
GRID = {"prompt_tokens": [16, 32], "output_tokens": [2, 8], "concurrency": [1]}
ROWS = 12


def config(folder, **runs):
    """Write the default config with the adapter measured too, and more runs beside it."""
    said = yaml.safe_load((REPO / "config/config.yaml").read_text())
    run = said["runs"][MERGED]
    run["serve"] = "both"
    for name, rank in runs.items():
        said["runs"][name] = {**run, "lora": {**run["lora"], "r": rank}}
    said["latency"] = {**GRID, "requests_per_cell": 3, "warmup_requests": 4}
    said["generation"] |= {"test_rows": ROWS, "prompts": None}
    path = folder / f"adapters-{len(runs)}.yaml"
    path.write_text(yaml.safe_dump(said))
    for part in ("data", "config"):
        if not (folder / part).exists():
            (folder / part).symlink_to(REPO / part)
    return path


def files(name=ADAPTER):
    return [f"results/eval/{name}/{file}" for file in ("latency.json", "loss.json", "scores.json")]


@pytest.fixture(scope="module")
def measured(finished, tmp_path_factory, warm):
    folder = tmp_path_factory.mktemp("project")
    run = finish(finished, *files(), "--configfile", config(folder), environment=warm)
    return run, folder


def read(finished, model, name):
    return json.loads((finished / "results/eval" / model / name).read_text())


def answers(finished, model):
    text = (finished / f"results/eval/{model}/generations.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines() if '"set": "tickets"' in line]


def test_one_server_and_no_training_make_an_adapter_a_measured_model(finished, measured):
    assert dict(measured[0].jobs()) == {
        "serve_adapters": 1,
        "measure_latency": 1,
        "generate_answers": 1,
        "measure_loss": 1,
        "score_answers": 1,
    }
    assert not list((finished / "results/adapters").rglob("*.*"))  # no key stays


def test_the_adapter_answers_as_the_merged_model_does(finished, measured):
    """The weights are merged in float32, so that only the order of additions differs."""
    mine, merged = answers(finished, ADAPTER), answers(finished, MERGED)[:ROWS]
    assert len(mine) == ROWS
    assert [row["id"] for row in mine] == [row["id"] for row in merged]
    same = sum(one["answer"] == other["answer"] for one, other in zip(mine, merged, strict=True))
    assert same >= ROWS - 1
    base = answers(finished, "tiny")[:ROWS]
    assert not any(one["answer"] == other["answer"] for one, other in zip(mine, base, strict=True))


def test_the_adapters_loss_is_that_of_the_merged_model(finished, measured):
    mine, merged = (read(finished, model, "loss.json")["losses"] for model in (ADAPTER, MERGED))
    for name, one in mine.items():
        assert one["value"] == pytest.approx(merged[name]["value"], abs=1e-4)


def test_latency_says_for_how_many_adapters_there_was_room(finished, measured):
    latency = read(finished, ADAPTER, "latency.json")
    assert latency["setup"]["server"]["lora"] == {"max_loras": 4, "max_lora_rank": 32}
    assert latency["server_view"]["requests"] == 12


def planned(finished, *arguments):
    run = finish(finished, "-n", *arguments)
    pairs = re.findall(r"rule (\w+):\n(?:.*\n)*?\s+wildcards: (.*)\n", run.text())
    return {(rule, re.split(r"[=,]", wildcards)[1]) for rule, wildcards in pairs}


def test_a_further_adapter_makes_the_others_measure_nothing_anew(finished, measured):
    """But for latency, where it makes the server's room larger: rank 64 where there was 32."""
    more = config(measured[1], small=8, large=64)
    assert planned(finished, *files(), "--configfile", more) == {
        ("train_adapter", "small"),
        ("train_adapter", "large"),
        ("serve_adapters", "tiny"),  # it has them too
        ("measure_latency", ADAPTER),
    }
