"""What must hold of measurements beyond what a schema can say: lengths, rows, times, the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sftflow.baseconfigs import max_positions
from sftflow.plan import measured_runs, root_base
from sftflow.serverargs import extra_args_faults
from sftflow.vlloptions import unknown_options

DAY_S = 86_400
# Widths of an attention head for which vLLM (0.32) has a kernel on a CPU:
# vllm/v1/attention/backends/cpu_attn.py.
CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)


def measuring_faults(config: dict, root: Path) -> Iterator[str]:
    """Yield the faults of latency, generation and serve; references of runs are sound."""
    extra = config["serve"]["extra_args"]
    yield from [*extra_args_faults(extra)] or unknown_options(extra)
    yield from _requests(config["latency"])
    yield from _lengths(config, root)
    yield from _test_rows(config)
    yield from _heads(config)


def _requests(grid: dict) -> Iterator[str]:
    if grid["requests_per_cell"] < max(grid["concurrency"]):
        yield (
            f"latency.requests_per_cell: {grid['requests_per_cell']} is fewer than the "
            f"{max(grid['concurrency'])} that latency.concurrency keeps under way; raise it"
        )
    for number, rate in enumerate(grid["rates"]):
        if grid["requests_per_rate"] > rate * DAY_S:
            yield (
                f"latency.rates[{number}]: at {rate:g} requests/s the {grid['requests_per_rate']} "
                "of requests_per_rate take more than a day; raise the rate or lower them"
            )


def _lengths(config: dict, root: Path) -> Iterator[str]:
    grid, asked = config["latency"], config["serve"]["max_model_len"]
    longest = max(grid["prompt_tokens"]) + max(grid["output_tokens"])
    for base in sorted({root_base(config, run) for run in config["runs"]}):
        positions = max_positions(config, root, base)
        if asked and positions and asked > positions:
            yield (
                f"serve.max_model_len: {asked} is more than the {positions} positions of '{base}'"
            )
        limit = min((n for n in (asked, positions) if n), default=None)
        if limit is not None and longest > limit:
            yield (
                f"latency: prompt_tokens {max(grid['prompt_tokens'])} + output_tokens "
                f"{max(grid['output_tokens'])} is more than the {limit} tokens that '{base}' takes"
            )
        answer, examples = (
            config["generation"]["max_new_tokens"],
            config["generation"]["in_context"],
        )
        if limit is not None and examples["examples"] and answer >= limit:
            yield (
                f"generation.max_new_tokens: {answer} leaves no room for in_context.examples in "
                f"the {limit} tokens that '{base}' takes; lower it"
            )


def _test_rows(config: dict) -> Iterator[str]:
    """Measured models answer test rows, and tasks of a suite read them."""
    without = {name for name, one in config["datasets"].items() if one["split"]["test"] == 0}
    for name in sorted(without):
        runs = [r for r in measured_runs(config) if config["runs"][r]["dataset"] == name]
        if runs:
            yield (
                f"datasets.{name}.split.test: is 0, and '{runs[0]}' is measured by its answers to "
                f"test rows; set some aside, or set runs.{runs[0]}.measure: false"
            )
    for name, suite in config["suites"].items():
        if suite["dataset"] in without:
            yield (
                f"suites.{name}.dataset: '{suite['dataset']}' has no test rows for its tasks to "
                "read (its split.test is 0)"
            )


def _heads(config: dict) -> Iterator[str]:
    for name in config["bases"]:
        size = head_size(config, name)
        if size is not None and size % 2:
            yield (
                f"bases.{name}.make.hidden_size: gives heads of width {size}; it must be even, for "
                "rotary positions turn pairs"
            )


def head_size(config: dict, base: str) -> int | None:
    """Return the width of the attention heads of a base that is made here, None of others."""
    make = config["bases"][base]["make"]
    if make is None or make["hidden_size"] % make["num_attention_heads"]:
        return None  # the latter is told of where bases are checked
    return make["hidden_size"] // make["num_attention_heads"]


def unserved_on_cpu(config: dict, model: str) -> str | None:
    """Return why vLLM can't serve a model without a GPU, None if it can as far as is known."""
    base = root_base(config, model)
    size = head_size(config, base)
    if size is None or size in CPU_HEAD_SIZES:
        return None
    listed = ", ".join(map(str, CPU_HEAD_SIZES))
    return (
        f"bases.{base}.make.hidden_size: gives heads of width {size}, which vLLM serves on a GPU "
        f"only; hidden_size / num_attention_heads must be one of {listed}"
    )
