"""What a vLLM server says of itself: counters of requests, room for tokens, memory, start."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftflow.endpoint import Endpoint, ask
from sftflow.guardian import group_members
from sftflow.stage import StageError

CACHE_INFO = "vllm:cache_config_info{"


def metrics_text(endpoint: Endpoint) -> str:
    """Return the server's metrics in Prometheus' text format; StageError if it does not answer."""
    try:
        return ask(endpoint, "/metrics").decode()
    except OSError as error:
        raise StageError(f"vLLM did not tell its counts ({error}); see {endpoint.log}") from None


def parse_metrics(text: str) -> dict[str, float]:
    """Return the server's Prometheus counters by name, summed over their labels."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            found[name] = found.get(name, 0.0) + float(value)
    return found


def counters(endpoint: Endpoint) -> dict[str, float]:
    """Return the server's own counters."""
    return parse_metrics(metrics_text(endpoint))


def server_view(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, Any]:
    """Return what the server itself counted between two readings of its metrics."""

    def grown(name: str) -> float | None:
        return after[name] - before.get(name, 0.0) if name in after else None

    def mean_ms(name: str) -> float | None:
        total, count = grown(f"vllm:{name}_sum"), grown(f"vllm:{name}_count")
        return 1000 * total / count if total is not None and count else None

    return {
        "requests": grown("vllm:request_success_total"),
        "ttft_mean_ms": mean_ms("time_to_first_token_seconds"),
        "e2e_mean_ms": mean_ms("e2e_request_latency_seconds"),
        "queue_mean_ms": mean_ms("request_queue_time_seconds"),
        "prefix_cache_hits": grown("vllm:prefix_cache_hits_total"),
        "preemptions": grown("vllm:num_preemptions_total"),
    }


def check_seen(seen: Mapping[str, Any], sent: int) -> None:
    """Raise StageError if the server counted other requests, or answered from a cache."""
    if seen["requests"] != sent:
        raise StageError(
            f"latency: {sent} requests were sent, the server counted {seen['requests']}: somebody "
            "else used it meanwhile; run again"
        )
    if seen["prefix_cache_hits"]:
        raise StageError(
            "latency: the server answered from its prefix cache; take the option that turns it "
            "on out of serve.extra_args"
        )


def footprint(endpoint: Endpoint) -> dict[str, Any]:
    """Return what a server takes: seconds to start, memory (MiB), room for tokens.

    ``peak_rss_mib`` adds up the most that each of its processes ever held: pages that two of them
    share count twice. ``pss_mib`` shares those out, at this moment. ``kv_cache_tokens`` are the
    tokens of prompts and answers that fit at once: on a GPU vLLM fills the memory that it may take
    with them, so that a smaller model shows there and not in ``gpu_memory_mib``.
    """
    members = group_members(endpoint.server_pid) if endpoint.server_pid else []
    return {
        "start_s": endpoint.start_s,
        "processes": len(members),
        "peak_rss_mib": _sum_mib(members, "status", "VmHWM"),
        "pss_mib": _sum_mib(members, "smaps_rollup", "Pss"),
        "gpu_memory_mib": gpu_memory_mib(set(members)),
        "kv_cache_tokens": kv_cache_tokens(metrics_text(endpoint)),
    }


def kv_cache_tokens(metrics: str) -> int | None:
    """Return how many tokens the KV cache holds, by the server's metrics."""
    for line in metrics.splitlines():
        if line.startswith(CACHE_INFO):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            parts = [labels.get(name, "") for name in ("block_size", "num_gpu_blocks")]
            return int(parts[0]) * int(parts[1]) if all(p.isdigit() for p in parts) else None
    return None


def _sum_mib(pids: list[int], file: str, key: str) -> float | None:
    """Return the sum over processes of a field of /proc in kB; None if none tells it."""
    told = []
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8")
        except OSError:
            continue
        told += [int(n) for n in re.findall(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)]
    return round(sum(told) / 1024, 1) if told else None


def gpu_memory_mib(pids: set[int]) -> float | None:
    """Return the GPU memory of these processes; None if the driver names none of them."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-compute-apps=pid,used_gpu_memory"]
    query.append("--format=csv,noheader,nounits")
    said = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    used = []
    for line in said.stdout.splitlines() if said.returncode == 0 else ():
        pid, _, mib = line.partition(", ")
        if pid.isdigit() and int(pid) in pids and mib.strip().isdigit():
            used.append(int(mib))
    return float(sum(used)) if used else None
