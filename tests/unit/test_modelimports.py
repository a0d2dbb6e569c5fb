"""What a stage spares with transformers' models is there for whoever wants it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]

PROGRAM = """
import sys
from sftflow.modelimports import import_models
import_models()
from transformers import Qwen2ForCausalLM
assert "sklearn" not in sys.modules, "models import scikit-learn in another place now"
import sklearn.metrics
import_models()
"""


def test_models_come_without_scikit_learn_and_it_can_be_imported_later():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(REPO / "scripts"), "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
