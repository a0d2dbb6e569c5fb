import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from sftflow.adapter_rules import unserved
from sftflow.engine import engine_command, engine_settings
from sftflow.loraserving import OPTIONS, RANKS, adapter_rank, server_rank
from sftflow.serverargs import extra_args_faults

SPEC = {
    "model": "tiny",
    "dtype": "float32",
    "max_model_len": 64,
    "gpu_memory_utilization": 0.9,
    "lora": {"max_loras": 4, "max_lora_rank": 16},
}


def run(method="lora", **lora):
    return {"method": method, "lora": {"r": 8, "init": "default", "use_dora": False, **lora}}


def test_the_ranks_are_those_of_the_installed_vllm():
    """Read, not imported: that would take ten seconds."""
    source = Path(find_spec("vllm").submodule_search_locations[0], "config/lora.py").read_text()
    said = re.search(r"MaxLoRARanks = Literal\[([\d, ]+)\]", source)[1]
    assert tuple(int(rank) for rank in said.split(",")) == RANKS


@pytest.mark.parametrize(
    ("rank", "server"), [(1, 1), (2, 8), (8, 8), (9, 16), (257, 320), (512, 512), (513, None)]
)
def test_the_server_has_the_smallest_rank_that_holds_an_adapter(rank, server):
    assert server_rank(rank) == server


def test_an_adapter_that_began_with_a_part_of_the_weights_has_twice_the_rank():
    assert adapter_rank(run(r=8)) == adapter_rank(run(r=8, init="gaussian")) == 8
    assert adapter_rank(run(r=8, init="pissa")) == adapter_rank(run(r=8, init="olora")) == 16


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (run(), None),
        (run("qlora", use_rslora=True), None),
        (run(r=256, init="pissa"), None),
        (run(r=257, init="pissa"), "up to rank 512, this one has 514"),
        (run(use_dora=True), "no DoRA"),
        (run("adalora"), "what adalora leaves is none"),
        (run("ia3"), "what ia3 leaves is none"),
        (run("full"), "full trains the model's own weights"),
        (run("bitfit"), "bitfit trains the model's own weights"),
    ],
)
def test_what_vllm_can_serve_as_an_adapter(left, why):
    said = unserved(left)
    assert said is None if why is None else why in said


@pytest.mark.parametrize("cpu", [True, False])
def test_adapters_are_options_of_the_server(cpu, tmp_path):
    folders = {f"r{i}+adapter": tmp_path / f"a, b={i}" for i in range(6)}
    spec = {**SPEC, "adapters": folders}
    command = engine_command(spec, Path("/m"), "127.0.0.1", 1, cpu)

    def values(option):
        rest = command[command.index(option) + 1 :]
        end = next((i for i, text in enumerate(rest) if text.startswith("--")), len(rest))
        return rest[:end]

    assert values("--max-loras") == ["4"] and values("--max-lora-rank") == ["16"]
    assert values("--max-cpu-loras") == ["6"]  # all stay in memory
    modules = [json.loads(text) for text in values("--lora-modules")]
    assert {m["name"]: m["path"] for m in modules} == {n: str(p) for n, p in folders.items()}
    assert engine_settings(spec, cpu)["lora"] == {"max_loras": 4, "max_lora_rank": 16}


def test_a_server_without_adapters_is_started_as_ever():
    plain = {key: value for key, value in SPEC.items() if key != "lora"}
    command = engine_command({**plain, "adapters": {}}, Path("/m"), "127.0.0.1", 1, cpu=True)
    assert not [text for text in command if "lora" in text]
    assert "lora" not in engine_settings(plain, cpu=True)


@pytest.mark.parametrize("option", OPTIONS)
def test_these_options_are_the_workflows_own(option):
    (fault,) = extra_args_faults([option, "1"])
    assert "decided by the workflow" in fault
