"""Stages as processes of their own, forked from one that has imported what they import.

Each is a real process with command line arguments, folder, output and exit status of its own,
which can be killed. What it does not pay again are seven seconds of imports.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[1] / "scripts"
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["stageimports", "warmstart"])
# One thread each: two tests run at a time.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": os.pathsep.join(map(str, (HERE, SCRIPTS))),
}


class Stage:
    """A running stage, with the names of subprocess.Popen."""

    def __init__(self, line: list[str], folder: Path, more: Mapping[str, str] = {}) -> None:
        """Start the script ``line[1]`` with the arguments behind it; ``more`` environment."""
        self._said = tempfile.NamedTemporaryFile()  # noqa: SIM115  # lives as long as the stage
        _ensure_server()
        self._process = SERVER.Process(target=_be, args=(line, str(folder), self._said.name, more))
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""
        return self._process.exitcode

    returncode = property(poll)

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end; return its exit status."""
        self._process.join(timeout)
        return self.poll()

    def said(self) -> str:
        """Return what it has printed on both streams."""
        return Path(self._said.name).read_text(encoding="utf-8", errors="replace")


def _ensure_server() -> None:
    """Start the server with the environment that all its stages have."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _be(line: list[str], folder: str, said: str, more: Mapping[str, str]) -> None:
    """Be the stage: in the forked process."""
    assert "stageimports" in sys.modules, "the fork server could not import what stages import"
    os.environ.update(more)
    os.chdir(folder)
    output = os.open(said, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    del os.environ["PYTHONPATH"]
    sys.argv = line[1:]
    runpy.run_path(line[1], run_name="__main__")
