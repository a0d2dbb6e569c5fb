"""The default's run in further forms beside the merged model: as an adapter, and quantised.

It uses the finished default and asks for their measurements only, on a small grid: two more starts
of vLLM, in one run of the workflow.
"""

from __future__ import annotations

import json
import re

import pytest
import yaml

from workflow import REPO, finish

pytestmark = pytest.mark.e2e
MERGED, ADAPTER = "tickets-lora", "tickets-lora+adapter"
QUANTIZED = "tickets-lora+w8a8"
GRID = {"prompt_tokens": [16, 32], "output_tokens": [2, 8], "concurrency": [1]}
ROWS = 12


def config(folder, **runs):
    """Write the default config with the further forms measured too, and more runs beside it."""
    said = yaml.safe_load((REPO / "config/config.yaml").read_text())
    run = said["runs"][MERGED]
    run |= {"serve": "both", "quantize": ["w8a8", "w4a16"] if runs else ["w8a8"]}
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
    targets = [*files(), *files(QUANTIZED)]
    run = finish(finished, *targets, "--configfile", config(folder), environment=warm)
    return run, folder


def read(finished, model, name):
    return json.loads((finished / "results/eval" / model / name).read_text())


def answers(finished, model):
    text = (finished / f"results/eval/{model}/generations.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines() if '"set": "tickets"' in line]


def test_a_server_each_and_no_training_make_further_forms_measured_models(finished, measured):
    assert dict(measured[0].jobs()) == {
        "serve_adapters": 1,
        "quantize_model": 1,
        "serve_model": 1,
        "measure_latency": 2,
        "generate_answers": 2,
        "measure_loss": 2,
        "score_answers": 2,
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


def test_int8_weights_answer_nearly_as_the_merged_model_does(finished, measured):
    """By vLLM's own kernels; another model, or wrong scales, would differ more."""
    mine, merged = answers(finished, QUANTIZED), answers(finished, MERGED)[:ROWS]
    assert [row["id"] for row in mine] == [row["id"] for row in merged]
    same = sum(one["answer"] == other["answer"] for one, other in zip(mine, merged, strict=True))
    assert same >= ROWS - 4
    losses = [read(finished, model, "loss.json")["losses"] for model in (QUANTIZED, MERGED)]
    for name, one in losses[0].items():
        assert one["value"] == pytest.approx(losses[1][name]["value"], abs=0.05)
        assert one["value"] != losses[1][name]["value"]


def test_int8_weights_take_a_third_of_the_room(finished, measured):
    """A quarter of the layers, and the embeddings as they were."""
    manifest = json.loads((finished / f"results/models/{QUANTIZED}/manifest.json").read_text())
    sizes = manifest["counts"]["weight_bytes"]
    assert 0.3 < sizes["quantized"] / sizes["merged"] < 0.4
    assert manifest["proof"]["quantized"]["greedy_agreement"] > 0.95


def planned(finished, *arguments):
    run = finish(finished, "-n", *arguments)
    pairs = re.findall(r"rule (\w+):\n(?:.*\n)*?\s+wildcards: (.*)\n", run.text())
    return {(rule, re.split(r"[=,]", wildcards)[1]) for rule, wildcards in pairs}


def test_a_further_adapter_makes_the_others_measure_nothing_anew(finished, measured):
    """But for latency, where it makes the server's room larger: rank 64 where there was 32.

    Nor does a further scheme.
    """
    more = config(measured[1], small=8, large=64)
    assert planned(finished, *files(), *files(QUANTIZED), "--configfile", more) == {
        ("train_adapter", "small"),
        ("train_adapter", "large"),
        ("serve_adapters", "tiny"),  # it has them too
        ("measure_latency", ADAPTER),
    }
