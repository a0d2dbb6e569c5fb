"""A small results folder as the stages leave it: one base, one tuned model, planted markup.

Figures are made up but of a piece: a tuned model that learned its task and forgot a little.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import compare_models
from sftflow.portrait import Portrait
from sftflow.records import message

PLANTED = "<script>alert(1)</script><img src=x onerror=alert(2)>"
SPEC = {
    "title": f"Support tickets {PLANTED}",
    "models": [
        {
            "name": "tiny",
            "kind": "base",
            "base": None,
            "run": None,
            "suites": ["tickets"],
            "templated": ["tickets.tiny.0a1b2c3d"],
            "datasets": ["tickets"],
        },
        {
            "name": "support",
            "kind": "tuned",
            "base": "tiny",
            "run": "support",
            "suites": ["tickets"],
            "templated": ["tickets.tiny.0a1b2c3d"],
            "datasets": ["tickets"],
        },
    ],
    "datasets": {"tickets": {"sources": ["crm", "mail"]}},
    "runs": {
        "support": {
            "base": "tiny",
            "dataset": "tickets",
            "method": "lora",
            "sweep": {"lora.r": [8]},
        }
    },
    "sweeps": {"support": ["support"]},
    "suites": {"tickets": {"tasks": ["tickets_json", "tickets_intent"], "limit": None}},
    "comparisons": [["support", "tiny"]],
    "gates": ["tickets.exact_match >= 0.9", "no benchmark falls by more than 2 standard errors"],
    "slo": {"ttft_ms": 30, "tpot_ms": None, "e2e_ms": None, "attainment": 0.9},
}


JUDGED = {
    "run": "support",
    "verdicts": [
        {
            "name": "healthy",
            "sentence": "Training loss went from 2.2 to 0.0867.",
            "advice": "Nothing to change.",
            "evidence": {"last_loss": 0.0867, "best_step": 330, "not_known": None},
        }
    ],
    "notes": [f"Both sides are said word for word. {PLANTED}"],
    "best_step": 330,
    "turned_at": None,
}


def write_results(results: Path) -> Path:
    """Write the folder and return it."""
    _sources(results)
    _dataset(results)
    _portrait(results)
    _run(results)
    for name, tuned in (("tiny", False), ("support", True)):
        folder = results / "eval" / name
        _json(folder / "scores.json", _scores(tuned))
        _json(folder / "benchmark" / "tickets.json", _benchmark(tuned))
        _json(folder / "loss.json", _losses(tuned))
        _json(folder / "latency.json", latency := _latency(tuned))
        _timed(folder / "latency_requests.parquet", latency)
        _lines(folder / "generations.jsonl", _answers(tuned))
        proof = {"positions": 4096, "greedy_agreement": 0.9998, "max_logit_difference": 2.1e-5}
        _manifest(
            results / "models" / name,
            "merge_adapter",
            ["model.safetensors"],
            **({"proof": {"merged": proof}} if tuned else {}),
        )
    _compared(results / "eval")
    _gates(results / "gates.json")
    _history(results / "history.json")
    return results


_pairs: list[str] = []  # of this process: resampling takes a second


def _compared(folder: Path) -> None:
    path = folder / "support/against/tiny.json"
    path.parent.mkdir()
    if not _pairs:
        sets = {"tickets": {"metrics": ["exact_match", "json_valid", "json_fields", "ended"]}}
        spec = {"model": "support", "against": "tiny", "sets": sets, "suites": []}
        places = {"model": folder / "support", "against": folder / "tiny", "comparison": path}
        options = [text for name, place in places.items() for text in (f"--{name}", str(place))]
        compare_models.main(["--spec", json.dumps(spec), *options])
        _pairs.append(path.read_text(encoding="utf-8"))
    path.write_text(_pairs[0], encoding="utf-8")


def _gates(path: Path) -> None:
    passed = {"verdict": "pass", "sentence": "scores/tickets.exact_match is 0.965"}
    fell = {"verdict": "fail", "sentence": f"general_cloze.acc went from 0.610 to 0.480 {PLANTED}"}
    rules = [
        {"rule": rule, **verdict}
        for rule, verdict in zip(SPEC["gates"], (passed, fell), strict=True)
    ]
    models = {"support": {"verdict": "fail", "rules": rules}}
    _json(path, {"rules": SPEC["gates"], "models": models})


def _history(path: Path) -> None:
    versions = (("0a1b2c3d", "2026-10-05 16:20", 0.71, 0.81), ("4e5f6a7b", "2026-10-19", 0.93, 0.9))
    past = [
        {
            "version": version,
            "date": date,
            "reason": f"lora.r: 8 -> 16; training rows: 900 -> 1780 {PLANTED}",
            "metrics": {
                "scores/tickets.exact_match": [exact, 0.02, 200],
                "tickets/tickets_intent.acc": [accuracy, 0.02, 200],
                "loss/text.general": [2.4, 0.02, 5200],
                "latency/fit.k_ms_per_token": [3.9, None, 72],
            },
        }
        for version, date, exact, accuracy in versions
    ]
    now = {"version": "8c9d0e1f", "reason": "training.learning_rate: 0.001 -> 0.002"}
    _json(path, {"models": {"support": {"past": past, "now": now}}})


def _json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _manifest(folder: Path, stage: str, files: list[str], **more: object) -> None:
    outputs = {
        name: {"sha256": hashlib.sha256(f"{folder.name}/{name}".encode()).hexdigest(), "bytes": 9}
        for name in files
    }
    manifest = {"schema": 1, "stage": stage, "settings": {}, "inputs": {}, "outputs": outputs}
    _json(folder / "manifest.json", {**manifest, "counts": {}, "versions": {}, **more})


def _sources(results: Path) -> None:
    for name, rows, rejected in (("crm", 1400, {"bad_json": 9, PLANTED: 3}), ("mail", 1100, {})):
        counts = {
            "rows_in": rows,
            "kept": rows - sum(rejected.values()),
            "rejected": rejected,
            "warnings": {"looks_double_encoded": {"count": 14, "first": f"{name}.jsonl:17"}},
        }
        _manifest(
            results / "sources" / name,
            "ingest_source",
            ["records.parquet", "rejected.parquet"],
            counts=counts,
            versions={"pyarrow": "24.0.0"},
        )


def _dataset(results: Path) -> None:
    steps, rows = [], 2488
    for step, changed, rejected in (
        ("normalize_text", 611, {}),
        ("length", 0, {"answer_too_short": 88}),
        ("exact_duplicates", 0, {"duplicate": 240}),
        ("conflicts", 0, {"conflict": 62}),
    ):
        left = rows - sum(rejected.values())
        books = {"step": step, "rows_in": rows, "rows_out": left, "changed": changed}
        steps.append({**books, "rejected": rejected})
        rows = left
    _manifest(
        results / "datasets" / "tickets" / "cleaned",
        "clean_dataset",
        ["records.parquet"],
        counts={"rows_in": 2488, "kept": rows, "rejected": {}, "steps": steps},
    )
    _manifest(
        results / "datasets" / "tickets",
        "split_dataset",
        ["train.parquet", "validation.parquet", "test.parquet"],
        counts={"rows_in": rows, "prompts": 2090, "train": 1788, "validation": 110, "test": 200},
    )
    sides = {
        "train": {"rows": 1788, "samples": 1780, "rejected": {"overlong": 8}, "truncated": 0},
        "validation": {"rows": 110, "samples": 110, "rejected": {}, "truncated": 0},
    }
    for side in sides.values():
        side |= {"tokens": 71 * side["samples"], "trained_tokens": 27 * side["samples"]}
        side |= {"overlong": 8, "length": {"p50": 70, "p95": 120, "max": 250}}
        side |= {"whole_length_bins": [[64, side["samples"] - 90], [99, 90], [280, 8]]}
    _manifest(
        results / "templated" / "tickets.tiny.0a1b2c3d",
        "template_data",
        ["train.parquet", "validation.parquet"],
        settings={"dataset": "tickets", "base": "tiny", "max_length": 256},
        counts=sides,
        versions={"transformers": "5.19.0", "tokenizers": "0.23.0"},
    )


def _portrait(results: Path) -> None:
    portrait = Portrait(30)
    for row in range(30):
        said = [message("user", f"{PLANTED} My router number {row} is broken")]
        said.append(message("assistant", '{"intent": "refund"}'))
        portrait.add({"id": f"{row:016x}", "source": "crm", "messages": said, "tools": None})
    line = {"label": "answers per row", "distance": 0.4, "chance": 0.1, "moved": True}
    drift = {"against": "tickets-v1", "rows": 900, "lines": [line]}
    _json(
        results / "datasets/tickets/portrait.json", {**portrait.figures("tickets"), "drift": drift}
    )


def _run(results: Path) -> None:
    training = {"learning_rate": 2e-3, "num_train_epochs": 3.0, "per_device_train_batch_size": 16}
    training |= {"gradient_accumulation_steps": 1, "lr_scheduler_type": "cosine"}
    folder = results / "runs" / "support"
    _manifest(
        folder,
        "train_adapter",
        ["adapter/adapter_model.safetensors", "history.csv"],
        settings={"run": "support", "method": "lora", "lora": {"r": 16}, "training": training},
        counts={
            "steps": 330,
            "epochs": 3.0,
            "parameters": 3_801_600,
            "trainable_parameters": 402_432,
            "best_eval_loss": 0.1189,
        },
        versions={"torch": "2.13.0+cpu", "trl": "1.16.0", "peft": "0.21.2"},
        dtype="float32",
        device="cpu",
    )
    table = ["step,epoch,loss,learning_rate,grad_norm,eval_loss,tokens"]
    for step in range(10, 331, 10):
        loss = 0.08 + 3.1 * math.exp(-step / 55) + 0.02 * math.sin(step)
        held = f"{0.11 + 3.0 * math.exp(-step / 57):.4f}" if step % 55 == 0 or step == 330 else ""
        table.append(
            f"{step},{step / 110:.3f},{loss:.4f},{2e-3 * (1 - step / 331):.3e},0.8,{held},"
        )
    _json(folder / "verdicts.json", JUDGED)
    (folder / "history.csv").write_text("\n".join(table) + "\n", encoding="utf-8")


def _share(value: float, n: int = 200) -> dict:
    return {"value": value, "stderr": math.sqrt(value * (1 - value) / (n - 1)), "n": n}


def _scores(tuned: bool) -> dict:
    shares = {
        "exact_match": (0.0, 0.965),
        "json_valid": (0.035, 1.0),
        "json_fields": (0.01, 0.981),
        "ended": (0.92, 1.0),
        "repetition": (0.21, 0.004),
    }
    metrics = {name: _share(pair[tuned]) for name, pair in shares.items()}
    length = (61.2, 27.4)[tuned]
    metrics["answer_tokens"] = {"value": length, "stderr": 1.4, "n": 200}
    tags = {
        "router": {"exact_match": _share((0.0, 0.97)[tuned], 180)},
        f"other {PLANTED}": {"exact_match": _share((0.0, 0.9)[tuned], 11)},
    }
    return {"schema": 1, "sets": {"tickets": metrics}, "tags": {"tickets": tags}}


def _benchmark(tuned: bool) -> dict:
    exact, accuracy, kept = (0.0, 0.96), (0.26, 0.93), (0.61, 0.48)
    return {
        "suite": "tickets",
        "tasks": {
            "tickets_json": {"exact_match": _share(exact[tuned])},
            "tickets_intent": {"acc": _share(accuracy[tuned])},
            "general_cloze": {"acc": _share(kept[tuned], 400)},
        },
        "limited": False,
        "finish": {"tickets_json": {"stop": 200 if tuned else 13, "length": 0 if tuned else 187}},
        "versions": {"lm-eval": "0.4.13", "tasks": {"tickets_json": 1}},
    }


def _losses(tuned: bool) -> dict:
    key = "tickets.tiny.0a1b2c3d"
    values = {"text.general": (2.31, 2.64), f"validation.{key}": (4.25, 0.117)}
    values[f"train.{key}"] = (4.26, 0.104)
    losses = {
        name: {"value": pair[tuned], "stderr": 0.02, "n": 5200, "unit": "nats/token"}
        for name, pair in values.items()
    }
    side = {"exact": _share((0.0, 0.8)[tuned], 100), "prefix_tokens": _share(0.9, 100)}
    recitation = {key: {"train": side, "validation": side, "recited": []}}
    setup = {"model": "m", "dtype": "float32", "max_length": 1024}
    return {**setup, "losses": losses, "recitation": recitation}


def _latency(tuned: bool) -> dict:
    b, k = ((13.1, 3.92), (13.4, 3.95))[tuned]
    cells = []
    for concurrency in (1, 4):
        for prompt in (32, 128, 512):
            for output in (16, 64):
                first = (b + 0.05 * prompt) * (1 + 0.35 * (concurrency - 1))
                token = k * (1 + 0.12 * (concurrency - 1))
                cells.append(_cell(prompt, output, concurrency, first, token))
    fits = [_fits(b, k, 1), _fits(2.1 * b, 1.36 * k, 4)]
    rates = [_rate(rate, b, k) for rate in (2, 8.5)]
    setup = {
        "grid": {"prompt_tokens": [32, 128, 512], "output_tokens": [16, 64], "seed": 0},
        "server": {"dtype": "float32", "prefix_caching": False, "vllm": "0.32.0"},
        "machine": {"cpu": f"Example CPU {PLANTED}", "cores": 2, "memory_gib": 7.8, "gpus": []},
        "load_average": {"before": [0.5 + tuned, 0.4, 0.3], "after": [1.9, 0.9, 0.5]},
    }
    return {
        "schema": 1,
        "setup": setup,
        "warmup": {"requests": 8, "settled": True},
        "client": [{"concurrency": c, "ttft_ms": 0.6, "token_ms": 0.02} for c in (1, 4)],
        "footprint": {
            "start_s": 21.5,
            "processes": 2,
            "peak_rss_mib": 3405.5,
            "pss_mib": 2790.0,
            "gpu_memory_mib": None,
            "kv_cache_tokens": 174720,
        },
        "cells": cells,
        "rates": rates,
        "fit": {"concurrency": 1, **fits[0]["answer"]},
        "fits": fits,
        "server_view": {"requests": 144, "ttft_mean_ms": 20.1},
        "warnings": ["2 of 12 cells drifted by more than 25%"] if tuned else [],
    }


def _timed(path: Path, latency: dict) -> None:
    """Write ten requests for each cell and rate: nine at its median, one at its p99."""
    places = [(i, None, cell) for i, cell in enumerate(latency["cells"])]
    places += [(None, rate["rate_per_s"], rate) for rate in latency["rates"]]
    rows = [
        {
            "cell": cell,
            "rate_per_s": rate,
            **{time: figures[time][q] for time in ("ttft_ms", "tpot_ms", "e2e_ms")},
        }
        for cell, rate, figures in places
        for q in ["p50"] * 9 + ["p99"]
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def _fits(b: float, k: float, concurrency: int) -> dict:
    def term(value: float, error: float) -> dict:
        low, high = value - 2 * error, value + 2 * error
        return {"value": value, "low": low, "high": high, "stderr": error}

    counts = {"r_squared": 0.994, "n": 72, "covariance": -0.004}
    answer = {"b_ms": term(b, 0.4), "k_ms_per_token": term(k, 0.02), **counts}
    first = {"a_ms": term(b + k, 0.5), "c_ms_per_token": term(0.05, 0.001), **counts}
    residuals = [
        {
            "prompt_tokens": prompt,
            "output_tokens": output,
            "fitted_ms": b + 0.05 * prompt + k * output,
            "residual_ms": 0.4 if output == 16 else -0.4,
            "stderr_ms": 0.3,
        }
        for prompt in (32, 128, 512)
        for output in (16, 64)
    ]
    plane = {"residuals": residuals, "worst_share": 0.006, "holds": True, "lack_of_fit": None}
    return {
        "concurrency": concurrency,
        "answer": answer,
        "first_token": first,
        "by_prompt": [{"prompt_tokens": p, **answer} for p in (32, 128, 512)],
        "plane": plane,
    }


def _rate(rate: float, b: float, k: float) -> dict:
    late = {"p50": 0.2, "p95": 0.9, "p99": 1.4}
    return {
        **_cell(0, 40, 1, b * (1 + 0.2 * rate), k),
        "rate_per_s": rate,
        "itl_ms": late,
        "late_ms": late,
        "in_flight": {"mean": 0.4 * rate, "max": 6},
        "requests_per_s": 0.97 * rate,
        "queue_mean_ms": 0.3 * rate,
        "falls_behind": rate > 8,
    }


def _cell(prompt: int, output: int, concurrency: int, first: float, token: float) -> dict:
    def quantiles(middle: float) -> dict:
        return {"p50": middle, "p95": middle * 1.18, "p99": middle * 1.31}

    return {
        "prompt_tokens": prompt,
        "output_tokens": output,
        "concurrency": concurrency,
        "requests": 12,
        "drift": 0.031,
        "ttft_ms": quantiles(first),
        "tpot_ms": quantiles(token),
        "e2e_ms": quantiles(first + token * (output - 1)),
        "tokens_per_s": 1000 * concurrency / token,
        "wall_s": 2.0,
        "client_share": {"ttft": 0.03, "tpot": 0.01},
    }


def _answers(tuned: bool) -> list[dict]:
    rows = []
    for number in range(40):
        intent = ("refund", "login", "delivery", "invoice")[number % 4]
        expected = f'{{"intent": "{intent}", "product": "router", "urgency": "high"}}'
        text = f"Hello, my router order {1000 + number} needs help with {intent}. It can't wait!"
        if number == 0:
            text = f"{text} {PLANTED}"
        wrong = "Thank you for your message. We we we will look at the router and " * 12
        answer = expected if tuned and number % 20 != 7 else (PLANTED + wrong)
        rows.append(
            {
                "set": "tickets",
                "id": f"{number:016x}",
                "messages": [{"role": "user", "content": text}],
                "reference": expected,
                "answer": answer,
                "finish_reason": "stop" if tuned else "length",
                "completion_tokens": 27 if tuned else 64,
            }
        )
    return rows
