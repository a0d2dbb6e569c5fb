"""Trackers that a training tells its figures to while it runs: TensorBoard, W&B, MLflow, Trackio.

transformers has a callback for each; here is what they are told and where their files go. No
result rests on a tracker: none is in a spec, a manifest or a fingerprint.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PROJECT = "sftflow"
# What may be installed for a tracker; the first is what to install.
PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
}


def missing_package(names: Iterable[str]) -> str | None:
    """Return what to install for the first tracker that can't be told anything, None if none."""
    for name in names:
        if not any(find_spec(package) for package in PACKAGES[name]):
            return PACKAGES[name][0]
    return None


def environment(folder: Path, run: str, fingerprint: str) -> dict[str, str]:
    """Return where trackers keep their files, and under which name: below ``folder``, not in ~.

    ``fingerprint`` is that of the training: it is the same for one that goes on after a kill, so
    Weights & Biases goes on with the same run, and another one for any other training.
    """
    folder = folder.resolve()
    return {
        "TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard" / f"{run}-{fingerprint[:8]}"),
        "WANDB_PROJECT": PROJECT,
        "WANDB_DIR": str(folder),  # it makes a folder wandb/ of its own there
        "WANDB_CONSOLE": "off",  # logs name folders, and rows at fault
        "WANDB_DISABLE_CODE": "true",
        "WANDB_RUN_ID": fingerprint,
        "WANDB_RESUME": "allow",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_EXPERIMENT_NAME": PROJECT,
        "TRACKIO_DIR": str(folder / "trackio"),
    }


def report_to(
    settings: Any, names: Sequence[str], folder: Path, run: str, fingerprint: str
) -> None:
    """Let a trainer with these settings (TrainingArguments) tell the trackers ``names``.

    What the user's environment says of a tracker stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in environment(folder, run, fingerprint).items():
        os.environ.setdefault(key, value)
    settings.report_to, settings.run_name, settings.project = list(names), run, PROJECT
