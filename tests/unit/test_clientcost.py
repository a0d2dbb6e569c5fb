import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sftflow import latency
from sftflow.clientcost import client_cost, client_share, null_server
from sftflow.latency import Cell, client_session, plan, timed_request


def test_the_null_server_speaks_as_vllm_does_and_ends():
    async def ask(server):
        cell = Cell(5, 7, 1)
        async with client_session(server, 1) as session:
            return await timed_request(session, server, plan(server, cell, [[1] * 5], 0)[0])

    with null_server() as server:
        row = asyncio.run(ask(server))
        port = int(server.url.split(":")[2].split("/")[0])
        assert listens(port)
    assert row["ok"], row["error"]
    assert (row["prompt_tokens"], row["output_tokens"], len(row["itl_ms"])) == (5, 7, 6)
    assert not listens(port)


def listens(port):
    wanted = f":{port:04X} "
    table = Path("/proc/net/tcp").read_text().splitlines()
    return any(wanted in line and " 0A " in line for line in table)


def test_a_slow_client_is_seen(monkeypatch):
    def slowly(text):
        time.sleep(0.002)
        return json.loads(text)

    cells = [Cell(16, 8, 1), Cell(64, 4, 2)]
    monkeypatch.setattr(latency, "json", SimpleNamespace(loads=slowly, dumps=json.dumps))
    found = asyncio.run(client_cost(cells, range(100), np.random.default_rng(0)))
    assert [one["concurrency"] for one in found] == [1, 2]
    assert all(2 < one["token_ms"] < 20 for one in found)


def test_the_clients_share_of_a_cell():
    cell = {"ttft_ms": {"p50": 20.0}, "tpot_ms": {"p50": 5.0}}
    cost = {"concurrency": 4, "ttft_ms": 1.0, "token_ms": 0.05}
    assert client_share(cost, cell) == {"ttft": 0.05, "tpot": pytest.approx(0.04)}
    one_token = {**cell, "tpot_ms": {"p50": None}}
    assert client_share(cost, one_token)["tpot"] is None
