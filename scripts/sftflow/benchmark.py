"""What is kept of an lm-eval run: figures with standard errors, samples, and checks of both."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sftflow.estimates import Estimate, estimate

Results = Mapping[str, Any]  # what lm_eval.simple_evaluate returns
NOT_FIGURES = ("alias", "name", "sample_len", "sample_count")


def figures(results: Results) -> dict[str, dict[str, Estimate]]:
    """Return {task or group: {metric: {value, stderr, n}}}.

    lm-eval's key ``exact_match,strict`` becomes ``exact_match[strict]``: the part after the comma
    is the filter that picked the answer out of the text, and ``none`` stands for no filter.
    """
    found: dict[str, dict[str, Estimate]] = {}
    for task, said in results["results"].items():
        n = item_count(results, task)
        found[task] = {}
        for key, value in said.items():
            metric, comma, kind = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            name = metric if kind == "none" else f"{metric}[{kind}]"
            stderr = said.get(f"{metric}_stderr,{kind}")
            found[task][name] = estimate(_number(value), _number(stderr), n)
    return found


def item_count(results: Results, task: str) -> int:
    """Return the number of items behind a task's figures; a group has those of its tasks."""
    if task in results["n-samples"]:
        return results["n-samples"][task]["effective"]
    below = results.get("group_subtasks", {}).get(task, [])
    return sum(item_count(results, child) for child in below)


def _number(value: Any) -> float | None:
    """Return a number; None for what lm-eval leaves open (N/A) and for NaN."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return None
    value = float(value)
    return value if value == value else None


def finish_reasons(samples: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, dict[str, int]]:
    """Return how the answers of each generative task ended: {task: {stop: n, length: n}}."""
    counted = {}
    for task, rows in samples.items():
        reasons = Counter(
            answer.finish_reason
            for row in first_filter(rows)
            for answers in row["resps"]
            for answer in answers
            if hasattr(answer, "finish_reason")
        )
        if reasons:
            counted[task] = {"stop": 0, "length": 0, **reasons}
    return counted


def first_filter(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return each item once: lm-eval repeats all of them for each filter."""
    rows = list(rows)
    return [row for row in rows if row["filter"] == rows[0]["filter"]]


def boundary_shares(
    pairs: Iterable[tuple[str, str, str]], encode: Callable[[str], list[int]]
) -> dict[str, float]:
    """Return for each task the share of (task, context, continuation) cut where tokens end.

    Where encode(context) + encode(continuation) is not encode(both), a token reaches over the
    boundary, and part of the continuation is counted to the context or the other way round.
    """
    sound: dict[str, list[bool]] = {}
    contexts: dict[str, list[int]] = {}
    for task, context, continuation in pairs:
        if context not in contexts:
            contexts = {context: encode(context)}  # choices of one question follow each other
        cut = contexts[context] + encode(continuation)
        sound.setdefault(task, []).append(cut == encode(context + continuation))
    return {task: sum(which) / len(which) for task, which in sound.items()}


def sample_lines(samples: Mapping[str, Iterable[Mapping[str, Any]]]) -> Iterator[str]:
    """Yield one JSON line per item and filter, in a fixed order, as lm-eval logs them."""
    for task, rows in samples.items():
        for row in sorted(rows, key=lambda row: (row["doc_id"], row["filter"])):
            reasons = [[getattr(a, "finish_reason", None) for a in each] for each in row["resps"]]
            kept = {"task": task, **row}
            if any(reason for each in reasons for reason in each):
                kept["finish_reasons"] = reasons
            yield json.dumps(kept, ensure_ascii=False, sort_keys=True, default=str) + "\n"


def task_configs(results: Results, own: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return each task's settings without paths of this machine."""
    configs = {}
    for task, said in results["configs"].items():
        config = json.loads(json.dumps(said, default=str))
        config["metadata"] = {
            k: v for k, v in (config.get("metadata") or {}).items() if k != "config_source"
        }
        if task in own:
            config["dataset_kwargs"] = own[task].get("dataset_kwargs")
        configs[task] = config
    return configs
