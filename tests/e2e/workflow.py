"""Run the real workflow in a folder, and see what it leaves: files, processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

REPO = Path(__file__).parents[2]
MARK = "SFTFLOW_TEST_MARK"


class Workflow:
    """One `snakemake` invocation, all of whose descendants carry a mark in their environment."""

    def __init__(
        self,
        folder: Path,
        *arguments: str | Path,
        cores: str = "all",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it in a session of its own, as a terminal would."""
        self.mark = uuid.uuid4().hex
        self.folder = folder
        self.servers: set[int] = set()  # process groups of the servers seen so far
        self.output = folder / f"snakemake-{self.mark[:6]}.txt"
        folder.mkdir(parents=True, exist_ok=True)
        command = [Path(sys.executable).parent / "snakemake", "--cores", cores]
        command += ["--directory", folder, *arguments]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                command,
                cwd=REPO,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **(environment or {}), MARK: self.mark},
            )

    def wait(self, timeout_s: float = 900) -> int:
        """Return its exit status; if it takes too long, end it and fail."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            raise AssertionError(f"not done after {timeout_s} s:\n{self.text()[-3000:]}") from None

    def text(self) -> str:
        """Return all that it has printed."""
        return self.output.read_text(errors="replace")

    def jobs(self) -> Counter:
        """Return how many jobs of each rule it has started."""
        started = re.findall(
            r"^\s*(?:local)?(?:rule|checkpoint) (\w+):$", self.text(), flags=re.MULTILINE
        )
        return Counter(name for name in started if name != "all")

    def signal(self, number: int) -> None:
        """Send a signal to its whole process group, as a terminal's Ctrl-C does."""
        os.killpg(self.process.pid, number)

    def watch(self) -> None:
        """Remember the process groups of its servers.

        vLLM's processes rename themselves, which wipes the environment that others see.
        """
        places = ("results/eval/*/server.json", "results/generators/*/*.json")
        for path in (path for place in places for path in self.folder.glob(place)):
            try:
                group = json.loads(path.read_text()).get("server_pid")
            except (OSError, ValueError):
                continue  # replaced or removed at this moment
            self.servers |= {group} if group else set()

    def left(self) -> list[psutil.Process]:
        """Return the processes alive that descend from it."""
        self.watch()
        return [p for p in psutil.process_iter() if _is_of(p, self.mark, self.servers)]

    def engines(self) -> list[psutil.Process]:
        """Return vLLM's engine processes, the ones that outlive careless endings."""
        return [p for p in self.left() if p.is_running() and "EngineCore" in _told(p)]

    def until(self, condition: Callable[[], bool], timeout_s: float = 300) -> None:
        """Wait for ``condition`` while it runs."""
        end = time.monotonic() + timeout_s
        while not condition():
            self.watch()
            assert self.process.poll() is None, f"it ended:\n{self.text()[-3000:]}"
            assert time.monotonic() < end, f"not seen in {timeout_s} s:\n{self.text()[-3000:]}"
            time.sleep(0.1)

    def assert_gone(self, within_s: float = 20) -> None:
        """Fail if a process that descends from it is alive after ``within_s``."""
        end = time.monotonic() + within_s
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(0.2)
        told = [f"{p.pid} {_told(p)[:120]}" for p in left if p.is_running()]
        for process in left:
            process.kill()
        assert not told, f"processes left behind: {told}"


def _is_of(process: psutil.Process, mark: str, groups: set[int]) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return os.getpgid(process.pid) in groups or process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def _told(process: psutil.Process) -> str:
    try:
        return f"{process.name()} {' '.join(process.cmdline())}"
    except psutil.Error:
        return ""


def finish(folder: Path, *arguments: str | Path, **options) -> Workflow:
    """Run to the end, which must be a success that leaves no process."""
    run = Workflow(folder, *arguments, **options)
    status = run.wait(1500)
    assert status == 0, run.text()[-6000:]
    run.assert_gone()
    return run


def sums(folder: Path) -> dict[str, str]:
    """Return every SHA256SUMS of a work folder by its path."""
    found = sorted(folder.glob("results/**/*SHA256SUMS"))
    return {str(path.relative_to(folder)): path.read_text() for path in found}
