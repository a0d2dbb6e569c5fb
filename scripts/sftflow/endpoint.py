"""The small file through which a server's supervisor speaks to those who use the server.

The supervisor writes ``server.json`` before anything else and replaces it whenever the state
changes: starting -> loading -> serving, or dead. It is readable by its owner only, for it
holds the API key of this one start.
"""

from __future__ import annotations

import json
import os
import re
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sftflow.stage import StageError

SCHEMA = 1
TAIL_BYTES = 262144
ASK_S = 60.0  # what answers in a millisecond takes many seconds where the machine is busy
AT_EXIT = re.compile(r"nanobind|^ - (leaked|\.\.\. skipped)|resource_tracker")
ERROR = re.compile(r"(?:^|\s)((?:\w+\.)*[A-Z]\w*(?:Error|Exception): .+)")
STATES = ("starting", "loading", "serving", "dead")


@dataclass(frozen=True)
class Endpoint:
    """One start of one server."""

    model: str  # the name under which the API knows it
    host: str
    port: int
    api_key: str = field(repr=False)
    boot_id: str  # another start, another id
    pid: int  # of the supervisor
    pid_start: int | None  # when it started (clock ticks since boot): a pid may be used again
    log: str  # the server's own log
    start_timeout_s: float
    state: str = "starting"
    server_pid: int | None = None  # of the API server, which is also its process group
    start_s: float | None = None  # from its start to its first answer
    returncode: int | None = None  # of the API server, minus the signal if it was killed
    reason: str | None = None  # of a death: a sentence
    last_lines: list[str] = field(default_factory=list)  # of the log, at a death
    settings: dict[str, Any] = field(default_factory=dict)  # the engine's, to stand beside figures
    trust_remote_code: bool = False

    @property
    def root(self) -> str:
        """Return the address without a path."""
        return f"http://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the base URL of the OpenAI API."""
        return f"{self.root}/v1"

    @property
    def headers(self) -> dict[str, str]:
        """Return what every request needs."""
        return {"Authorization": f"Bearer {self.api_key}"}


def process_start(pid: int) -> int | None:
    """Return a running process's start in clock ticks since boot; None if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # from field 3 of proc(5) on
    return None if fields[0] in "ZX" else int(fields[19])


def supervisor_lives(endpoint: Endpoint) -> bool:
    """Return whether the very process that wrote the file still runs."""
    start = process_start(endpoint.pid)
    return start is not None and endpoint.pid_start in (None, start)


def ask(endpoint: Endpoint, path: str, body: Any = None, timeout_s: float = ASK_S) -> bytes:
    """Return the answer to one request (POST if there is a body); raise OSError if it fails."""
    headers = {**endpoint.headers, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(endpoint.root + path, data, headers)  # noqa: S310
    # No proxy: the environment's is for the world outside, and this is the loopback address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout_s) as response:
        return response.read()


def write_endpoint(path: Path, endpoint: Endpoint) -> None:
    """Replace the file in one step; nobody but its owner may read it, at no time."""
    value = {"schema": SCHEMA, "url": endpoint.url, **asdict(endpoint)}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.unlink(missing_ok=True)
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1, sort_keys=True)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_endpoint(path: Path) -> Endpoint:
    """Read the file; raise StageError if it is not one of this schema."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        del value["url"]
        return Endpoint(**value)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise StageError(
            f"{path} is not the file of a running server ({type(error).__name__}: {error}); "
            "is serve_model running?"
        ) from None


def last_lines(log: Path | str, count: int = 20) -> list[str]:
    """Return the end of a log, without control characters, which could steer a terminal.

    What vLLM's bindings print at every exit about leaks is left out: it hides the reason.
    """
    try:
        with Path(log).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = ["".join(c if c.isprintable() else " " for c in s) for s in text.split("\n")]
    told = [line[:400].rstrip() for line in lines if line.strip() and not AT_EXIT.search(line)]
    return told[-count:]


def cause(log: Path | str) -> str | None:
    """Return the last error that a log names, but for those that only pass another one on."""
    for line in reversed(last_lines(log, 2000)):
        found = ERROR.search(line)
        if found and "EngineDeadError" not in line and "root cause" not in line:
            return found.group(1)
    return None
