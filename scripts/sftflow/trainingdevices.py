"""What of a run this machine has no device for: told by a dry run, before any job."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

from sftflow.devices import gpu_count, quantisation_fault
from sftflow.optimizers import bitsandbytes_asked

AMPERE = 8.0  # the first compute capability whose tensor cores take bfloat16 (CUDA C++ guide)


def capabilities() -> list[float]:
    """Return the compute capability of each NVIDIA GPU here; none where no driver answers."""
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    if not gpu_count():
        return []
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
        return [float(line) for line in told.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def device_fault(run: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what a run needs and lacks here, and what to use instead; None if all is there.

    As far as is seen without torch: the training itself looks again.
    """
    asked = bitsandbytes_asked(run["method"], run["training"])
    lacks = quantisation_fault() if asked else None
    if asked and lacks:
        setting, instead = asked
        return f"{setting} needs {lacks}", instead
    dtype = run["training"]["dtype"]
    if dtype == "float16" and not gpu_count():
        return "training.dtype: float16 needs a CUDA GPU and there is none", "auto"
    known = capabilities() if dtype == "bfloat16" else []
    if known and max(known) < AMPERE:
        said = f"needs a GPU of compute capability {AMPERE} or more, and here is {max(known)}"
        return f"training.dtype: bfloat16 {said}", "float16 or float32"
    return None
