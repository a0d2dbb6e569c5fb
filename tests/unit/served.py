"""A supervisor with the stand-in for vLLM, for the tests of both sides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[1] / "scripts"

SPEC = {
    "model": "toy",
    "max_model_len": 64,
    "dtype": "float32",
    "gpu_memory_utilization": 0.9,
    "tensor_parallel_size": 1,
    "start_timeout_s": 20,
    "extra_args": [],
    "trust_remote_code": False,
}


def until(condition, timeout_s=15.0):
    """Return the first true value of ``condition``; fail if there is none in time."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not true within {timeout_s} s")


class Supervisor:
    """serve_model.py on the stand-in, in a folder of its own."""

    def __init__(self, folder: Path, behaviour: str = "serve", shell: bool = False, **spec) -> None:
        adapters = spec.pop("adapters", [])
        self.path = folder / "server.json"
        self.log = folder / "serve.log"
        command = [sys.executable, str(SCRIPTS / "serve_model.py"), "--log", str(self.log)]
        command += ["--spec", json.dumps({**SPEC, **spec}), "--model", str(folder)]
        command += ["--endpoint", str(self.path), "--adapters", *adapters]
        if shell:  # a shell that does not exec: it stays between the parent and the supervisor
            command = ["bash", "-c", '"$@"; exit $?', "bash", *command]
        self.process = subprocess.Popen(
            command,
            env={
                **os.environ,
                "PYTHONPATH": str(HERE / "fake_vllm"),
                "FAKE_VLLM": behaviour,
                "FAKE_SEEN": str(folder / "seen"),
            },
            stderr=subprocess.DEVNULL,
        )

    def read(self):
        try:
            return json.loads(self.path.read_text())
        except FileNotFoundError:
            return None

    def reach(self, state: str):
        """Wait for a state and return the endpoint file's content."""
        return until(lambda: (now := self.read()) and now["state"] == state and now)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
