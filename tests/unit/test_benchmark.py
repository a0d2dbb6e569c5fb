import json
import random
import sys
from types import SimpleNamespace

import pytest

import run_benchmark
from sftflow.benchmark import (
    boundary_shares,
    figures,
    finish_reasons,
    item_count,
    sample_lines,
    task_configs,
)
from sftflow.stage import StageError

RESULTS = {
    "results": {
        "qa": {
            "alias": "qa",
            "exact_match,strict": 0.5,
            "exact_match_stderr,strict": 0.1,
            "bleu,none": 3.0,
            "bleu_stderr,none": "N/A",
            "mcc,none": float("nan"),
            "mcc_stderr,none": float("nan"),
            "sample_len": 2,
        },
        "group": {"acc,none": 0.25, "acc_stderr,none": 0.05, "alias": "group"},
    },
    "n-samples": {"a": {"original": 9, "effective": 4}, "b": {"original": 3, "effective": 3},
                  "qa": {"original": 100, "effective": 2}},
    "group_subtasks": {"group": ["a", "below"], "below": ["b"]},
}  # fmt: skip


class Text(str):
    finish_reason = "stop"


class Cut(str):
    finish_reason = "length"


def sample(doc_id, answer, kind="none"):
    return {
        "doc_id": doc_id,
        "filter": kind,
        "arguments": [("prompt", {"until": []})],
        "resps": [[answer]],
        "filtered_resps": [answer],
    }


def test_figures_by_task_metric_and_filter():
    found = figures(RESULTS)
    assert found["qa"]["exact_match[strict]"] == {"value": 0.5, "stderr": 0.1, "n": 2}
    assert found["qa"]["bleu"] == {"value": 3.0, "stderr": None, "n": 2}
    assert found["qa"]["mcc"] == {"value": None, "stderr": None, "n": 2}
    assert set(found["qa"]) == {"exact_match[strict]", "bleu", "mcc"}


def test_a_group_counts_the_items_of_its_tasks():
    assert item_count(RESULTS, "group") == 4 + 3
    assert figures(RESULTS)["group"]["acc"]["n"] == 7


def test_finish_reasons_count_each_answer_once_whatever_the_filters():
    rows = [
        sample(i, a, k) for k in ("strict", "flexible") for i, a in ((0, Text("x")), (1, Cut()))
    ]
    assert finish_reasons({"qa": rows, "mc": [{**sample(0, (-1.5, True))}]}) == {
        "qa": {"stop": 1, "length": 1}
    }


def test_boundary_shares():
    # a toy tokenizer: "ab" is one token wherever it stands, everything else one per character
    def encode(text):
        return [ord(c) for c in text.replace("ab", "\x01")]

    pairs = [("a", "b"), ("c", "ab"), ("c", "a"), ("ab", "a")]
    assert boundary_shares([("mc", *pair) for pair in pairs], encode) == {"mc": 0.75}
    assert boundary_shares([("x", "a", "b"), ("y", "a", "a")], encode) == {"x": 0, "y": 1}
    assert boundary_shares([], encode) == {}


def test_sample_lines_are_in_order_and_say_why_answers_ended():
    lines = list(sample_lines({"qa": [sample(1, Cut("é")), sample(0, Text("x"))]}))
    rows = [json.loads(line) for line in lines]
    assert [row["doc_id"] for row in rows] == [0, 1]
    assert [row["finish_reasons"] for row in rows] == [[["stop"]], [["length"]]]
    assert "é" in lines[1]


def test_configs_hold_no_path_of_this_machine():
    own = {"qa": {"dataset_kwargs": {"data_files": "{dataset}/test.parquet"}}}
    said = {
        "qa": {"dataset_kwargs": {"data_files": "/x/test.parquet"}, "metadata": {"version": 1}},
        "mmlu": {"metadata": {"version": 0, "config_source": "/y/mmlu.yaml"}, "f": len},
    }
    configs = task_configs({"configs": said}, own)
    assert configs["qa"]["dataset_kwargs"] == {"data_files": "{dataset}/test.parquet"}
    assert configs["mmlu"]["metadata"] == {"version": 0}
    assert "/x" not in json.dumps(configs) and "/y" not in json.dumps(configs)


def test_more_examples_than_rows_are_one_sentence(monkeypatch):
    """lm-eval lets Python's `random.sample` say it."""

    def simple_evaluate(**_):
        return random.Random(0).sample(range(3), 5)

    fake = SimpleNamespace(simple_evaluate=simple_evaluate, TaskManager=lambda **_: None)
    served = SimpleNamespace(SEED=0, ServedModel=lambda *_: None)
    for name, module in {"lm_eval": fake, "lm_eval.tasks": fake, "sftflow.lmeval": served}.items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = {"suite": "s", "folder": None, "apply_chat_template": True, "num_fewshot": 5}
    with pytest.raises(StageError, match="suite s wants more examples"):
        run_benchmark.evaluate([], {**spec, "limit": None}, None)
