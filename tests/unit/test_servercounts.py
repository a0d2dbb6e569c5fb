import os
from pathlib import Path

import pytest

from sftflow import servercounts
from sftflow.endpoint import Endpoint
from sftflow.servercounts import (
    check_seen,
    footprint,
    gpu_memory_mib,
    kv_cache_tokens,
    parse_metrics,
    server_view,
)
from sftflow.stage import StageError


def test_other_users_and_a_cache_are_noticed():
    seen = {"requests": 5.0, "prefix_cache_hits": 0.0}
    check_seen(seen, 5)
    with pytest.raises(StageError, match="somebody else"):
        check_seen(seen, 4)
    with pytest.raises(StageError, match="prefix cache"):
        check_seen({**seen, "prefix_cache_hits": 1.0}, 5)


def test_metrics_are_read_and_subtracted():
    before = parse_metrics(
        '# HELP x\nvllm:request_success_total{finished_reason="stop"} 1.0\n'
        'vllm:request_success_total{finished_reason="length"} 2.0\n'
    )
    assert before == {"vllm:request_success_total": 3.0}
    after = {
        "vllm:request_success_total": 5.0,
        "vllm:time_to_first_token_seconds_sum": 0.5,
        "vllm:time_to_first_token_seconds_count": 2.0,
    }
    seen = server_view(before, after)
    assert (seen["requests"], seen["ttft_mean_ms"], seen["e2e_mean_ms"]) == (2.0, 250.0, None)


def test_the_room_for_tokens_is_read():
    line = 'vllm:cache_config_info{num_gpu_blocks="10",cache_dtype="auto",block_size="16"} 1.0'
    assert kv_cache_tokens(f"# HELP x\n{line}\n") == 160
    assert kv_cache_tokens(line.replace('"10"', '"None"')) is None
    assert kv_cache_tokens("") is None


def test_a_servers_memory_is_that_of_its_processes(monkeypatch):
    endpoint = Endpoint("m", "h", 1, "k", "b", 1, None, "log", 9.0, server_pid=1, start_s=3.5)
    monkeypatch.setattr(servercounts, "metrics_text", lambda _: "")
    monkeypatch.setattr(servercounts, "group_members", lambda _: [os.getpid()])
    alone = footprint(endpoint)
    assert (alone["start_s"], alone["processes"], alone["kv_cache_tokens"]) == (3.5, 1, None)
    assert alone["peak_rss_mib"] >= alone["pss_mib"] > 1
    monkeypatch.setattr(servercounts, "group_members", lambda _: [os.getpid()] * 2 + [2**22 + 1])
    twice = footprint(endpoint)  # and a process that has just ended
    assert twice["peak_rss_mib"] == pytest.approx(2 * alone["peak_rss_mib"], rel=0.05)


def test_gpu_memory_is_that_of_the_servers_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory_mib({7}) is None
    tool = Path(tmp_path, "nvidia-smi")
    tool.write_text("#!/bin/sh\necho '7, 1000'\necho '8, 500'\necho '77, 20'\necho '9, [N/A]'\n")
    tool.chmod(0o755)
    assert gpu_memory_mib({7, 8, 9}) == 1500
    assert gpu_memory_mib({1}) is None  # in a container the driver may name other processes
