"""Keep one server running for exactly as long as somebody wants it.

The chain is snakemake -> (shell that execs) supervisor -> server's process group, and beside
it, in a session of its own, the guardian (see guardian.py). Whichever link breaks, the group
is ended: the supervisor ends it when it is told to, when its parent is gone or when the server
dies; the guardian does so when the supervisor is gone. If both are killed, the kernel kills the
server, and its engine with it (see vllmserver.py).
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sftflow import guardian
from sftflow.deathsignal import end_with
from sftflow.scratch import ScratchFolder

logger = logging.getLogger("sftflow")

POLL_S = 0.25
SHELLS = ("sh", "bash", "dash", "zsh", "ksh")


class StopRequest:
    """The wish, by signal or by the death of the parent, that the server be ended."""

    def __init__(self) -> None:
        """Take over SIGTERM, SIGINT and SIGHUP, and remember who the parents are."""
        self.reason: str | None = None
        self._links = _lineage()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self.reason = self.reason or signal.Signals(number).name

    def wait(self, timeout_s: float = POLL_S) -> bool:
        """Wait at most ``timeout_s``; return whether to stop."""
        if self.reason is None and select.select([self._read], [], [], timeout_s)[0]:
            os.read(self._read, 64)
        if self.reason is None and any(_parent(pid) != parent for pid, parent in self._links):
            self.reason = "the parent process is gone"
        return self.reason is not None


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])


def _lineage() -> list[tuple[int, int]]:
    """Return the links (pid, parent) from this process up to the first that is no shell.

    With ``exec`` all the way that is one link. A shell between would outlive Snakemake, so its
    own parent counts as well.
    """
    links, pid = [], os.getpid()
    while (parent := _parent(pid)) is not None:
        links.append((pid, parent))
        try:
            name = Path(f"/proc/{parent}/comm").read_text().strip()
        except OSError:
            break
        if name not in SHELLS:
            break
        pid = parent
    return links


class ServerProcess:
    """A server's process group, its guardian and its private folder."""

    def __init__(self) -> None:
        """Start the guardian: it is there before there is anything to guard."""
        # Short: the path of a Unix socket made in it may have 107 characters.
        root = tempfile.gettempdir() if len(tempfile.gettempdir()) < 40 else "/tmp"  # noqa: S108
        self._scratch = ScratchFolder(root)
        self.folder = self._scratch.path
        read, self._pipe = os.pipe()
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, str(read), str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(read, self._scratch.lock),
            start_new_session=True,
            cwd="/",
            env={"LC_ALL": "C.UTF-8"},
        )
        os.close(read)
        self.pid: int | None = None
        self._process: subprocess.Popen | None = None

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """Start the server in a session of its own; return its pid, which is its group too."""
        pipe, supervisor = self._pipe, os.getpid()

        def register() -> None:
            # Between fork and exec, so that there is no moment at which the server runs and
            # its guardian does not know. The pipe itself is closed by exec.
            os.write(pipe, b"+%d\n" % os.getpid())
            end_with(supervisor, signal.SIGKILL)

        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,  # nobody to answer a question
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=register,  # this process has one thread
            )
        self.pid = self._process.pid
        return self.pid

    def returncode(self) -> int | None:
        """Return the server's exit status (minus the signal if killed), or None if it runs.

        The dead process is not reaped: as a zombie it keeps its group's number from being
        given to another, until ``end`` has ended that group.
        """
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def guarded(self) -> bool:
        """Return whether the guardian still watches."""
        return self._guardian.poll() is None

    def end(self) -> None:
        """End the server's whole group, engine and workers too: SIGTERM first, then SIGKILL."""
        if self.pid is None:
            return
        start_s = time.monotonic()
        if not guardian.end_group(self.pid):
            logger.error("processes of group %d do not end, not even by SIGKILL", self.pid)
            return
        with suppress(BrokenPipeError):  # the guardian itself was killed
            os.write(self._pipe, b"-%d\n" % self.pid)
        self._process.wait()
        logger.info("server group %d ended in %.1f s", self.pid, time.monotonic() - start_s)
        self.pid = None

    def close(self) -> None:
        """End the server, the guardian and the private folder."""
        self.end()
        os.close(self._pipe)
        self._scratch.close()
        self._guardian.wait()
