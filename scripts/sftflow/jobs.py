"""The environment that every job of the workflow finds."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def set_job_environment(home: Path | str) -> None:
    """Tell jobs where the scripts are, and let `python` be the one that runs the workflow."""
    os.environ["SFTFLOW_HOME"] = str(home)
    here = str(Path(sys.executable).parent)
    if os.environ.get("PATH", "").split(os.pathsep)[0] != here:
        os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", os.defpath)])
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
