"""The environment that every job of the workflow finds."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def project_path(text: str) -> Path:
    """Return the place of a path that stands in a job's settings as it stands in the config."""
    return Path(os.environ.get("SFTFLOW_ROOT", "."), text)


def set_job_environment(home: Path | str, root: Path | str) -> None:
    """Tell jobs where the scripts and the project are; `python` is what runs the workflow."""
    os.environ["SFTFLOW_HOME"] = str(home)
    os.environ["SFTFLOW_ROOT"] = str(root)
    here = str(Path(sys.executable).parent)
    if os.environ.get("PATH", "").split(os.pathsep)[0] != here:
        os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", os.defpath)])
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that wait for each other spin for some tenths of a millisecond, then sleep. Sleeping
    # at once made a training on an idle machine slower than one thread alone; with OpenMP's own
    # choice, which spins far longer, two of them side by side took six times as long.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # vLLM remembers what it finds out about a model (9 s of a start), in ~/.cache if not told.
    os.environ.setdefault("VLLM_CACHE_ROOT", str(Path("results/.cache/vllm").resolve()))
