"""Snakemake and its jobs as forks of one process that has imported what they share."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from staleness.warm import client

HERE = Path(__file__).parent


class Warm:
    """A running server, and the folder with the `python` that asks it."""

    def __init__(self, folder: Path, *packages: str) -> None:
        """Start it; it ends with this process, or when it is closed.

        It imports ``packages``, or, if none are named, what stages share.
        """
        folder.mkdir()
        self.place = str(folder / "socket")
        self.programs = folder / "bin"
        self.programs.mkdir()
        asks = self.programs / "python"
        text = (HERE / "client.py").read_text(encoding="utf-8")
        asks.write_text(f"#!{sys.executable} -IS\n{text}", encoding="utf-8")
        asks.chmod(0o755)
        # What makes the jobs of a Snakemake that was started as usual ask it.
        profile = folder / "profile.sh"
        profile.write_text(f"export PATH={self.programs}:$PATH\n", encoding="utf-8")
        self.environment = {"BASH_ENV": str(profile), "SFTFLOW_WARM": self.place}
        command = [sys.executable, HERE / "server.py", self.place, *packages]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._server.stdout.readline(), "the warm server did not start"

    def close(self) -> None:
        """End the server."""
        self._server.stdin.close()
        self._server.wait(30)

    def run(
        self, line: list[str], folder: Path, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; return its status and what it printed."""
        environment = {**environment, "SFTFLOW_WARM": self.place}
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            with Path("/dev/null").open() as nothing:
                streams = [nothing.fileno(), out.fileno(), err.fileno()]
                status = client.run(line, str(folder), environment, streams, self.place)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(line, status, out.read(), err.read())
