"""Serve one model with vLLM until told to stop, and leave no process behind.

reads   the model folder (config, weights, tokenizer, chat template); folders of LoRA adapters, each
        served under a name of its own beside the model
writes  server.json (see sftflow/endpoint.py) at once, replaced as the state changes and
        removed at an ordered stop; vLLM's own log beside the stage's log (*.vllm.log)

Run as a Snakemake service. Exit status 0 if it was asked to stop, 1 if the server died, did
not get ready in ``start_timeout_s`` or could not be started.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sftflow.endpoint import (
    Endpoint,
    ask,
    cause,
    last_lines,
    process_start,
    read_endpoint,
    write_endpoint,
)
from sftflow.engine import engine_command, engine_environment, engine_settings, on_cpu
from sftflow.folders import check_payloads
from sftflow.manifests import SUMS
from sftflow.oomkills import killed_meanwhile, oom_kills_before
from sftflow.seats import seats_file
from sftflow.stage import StageError, run_stage, stage_parser
from sftflow.supervision import ServerProcess, StopRequest

HOST = "127.0.0.1"
PORT_TRIES = 3
PORT_TAKEN = ("address already in use", "errno 98")

logger = logging.getLogger("sftflow")


class ServerDied(StageError):
    """The server's process ended without having been asked to."""

    def __init__(self, text: str, returncode: int | None) -> None:
        """Keep the exit status beside the sentence."""
        super().__init__(text)
        self.returncode = returncode


def free_port() -> int:
    """Return a TCP port on the loopback address that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def new_endpoint(spec: dict[str, Any], log: Path, settings: dict[str, Any]) -> Endpoint:
    """Return the endpoint of a server that is about to start."""
    return Endpoint(
        model=spec["model"],
        host=HOST,
        port=free_port(),
        api_key=secrets.token_urlsafe(32),
        boot_id=secrets.token_hex(8),
        pid=os.getpid(),
        pid_start=process_start(os.getpid()),
        log=str(log.resolve()),
        start_timeout_s=spec["start_timeout_s"],
        settings=settings,
        trust_remote_code=bool(spec.get("trust_remote_code")),
    )


def answers(endpoint: Endpoint) -> bool:
    """Return whether the server's web part is up (not yet that its engine is sound)."""
    try:
        ask(endpoint, "/health", timeout_s=2)
    except OSError:
        return False
    return True


def port_was_taken(log: Path) -> bool:
    """Return whether the server ended because somebody else got its port."""
    text = "\n".join(last_lines(log, 60)).lower()
    return any(sign in text for sign in PORT_TAKEN)


def how_it_ended(returncode: int) -> str:
    """Return a returncode in words."""
    if returncode >= 0:
        return f"exit status {returncode}"
    name = signal.Signals(-returncode).name
    hint = ", perhaps out of memory" if returncode == -signal.SIGKILL else ""
    return f"killed by {name}{hint}"


def check_running(server: ServerProcess, log: Path) -> None:
    """Raise StageError if the server or its guardian is gone."""
    returncode = server.returncode()
    if returncode is not None:
        why = cause(log)
        said = f": {why}" if why else ""
        if killed_meanwhile():  # an engine that is killed says nothing, and its server ends well
            said += "; the kernel has killed for lack of memory meanwhile, so give it more"
        raise ServerDied(f"vLLM died ({how_it_ended(returncode)}){said}; see {log}", returncode)
    if not server.guarded():
        raise StageError("the server's guardian was killed, so the server is ended; run again")


def wait_until_up(server: ServerProcess, endpoint: Endpoint, stop: StopRequest) -> bool:
    """Wait until the server answers; return False if asked to stop before that."""
    until_s = time.monotonic() + endpoint.start_timeout_s
    while not stop.wait():
        check_running(server, Path(endpoint.log))
        if answers(endpoint):
            return True
        if time.monotonic() > until_s:
            raise StageError(
                f"vLLM did not get ready in {endpoint.start_timeout_s:g} s "
                f"(serve.start_timeout_s); see {endpoint.log}"
            )
    return False


def serve(
    server: ServerProcess, spec: dict[str, Any], model: Path, path: Path, stop: StopRequest
) -> None:
    """Start the server, on another port if the first was snatched, and watch it."""
    cpu = on_cpu()
    for left in reversed(range(PORT_TRIES)):
        endpoint = read_endpoint(path)
        log = Path(endpoint.log)
        command = engine_command(spec, model, endpoint.host, endpoint.port, cpu)
        environment = engine_environment(spec, endpoint.api_key, server.folder, cpu)
        pid = server.start(command, environment, log)
        logger.info("started pid %d on port %d: %s", pid, endpoint.port, " ".join(command))
        endpoint = replace(endpoint, state="loading", server_pid=pid)
        write_endpoint(path, endpoint)
        start_s = time.monotonic()
        try:
            if not wait_until_up(server, endpoint, stop):
                return
        except ServerDied:
            if left == 0 or not port_was_taken(log):
                raise
            logger.warning("port %d was taken in the meantime; trying another", endpoint.port)
            server.end()
            write_endpoint(path, replace(endpoint, port=free_port(), state="starting"))
            log.rename(log.with_suffix(f".{left}.log"))
            continue
        took_s = round(time.monotonic() - start_s, 2)
        logger.info("ready after %.1f s", took_s)
        write_endpoint(path, replace(endpoint, state="serving", start_s=took_s))
        while not stop.wait():
            check_running(server, log)
        return


def check_small_files(model: Path) -> None:
    """Raise StageError if template, tokenizer or settings of a model are not as they were made.

    A server reads them as it finds them, and whoever asks it compares its tokens with those of the
    same folder, so nobody else would notice. Weights, which take minutes to read, are left to the
    digests that Snakemake looks at.
    """
    if (model / SUMS).is_file():
        check_payloads(model, but=".safetensors")


def record_death(path: Path, error: StageError) -> None:
    """Tell those who wait for the server why it will not come, or not come back."""
    endpoint = read_endpoint(path)
    write_endpoint(
        path,
        replace(
            endpoint,
            state="dead",
            returncode=getattr(error, "returncode", None),
            reason=str(error),
            last_lines=last_lines(endpoint.log),
        ),
    )


def main(argv: list[str]) -> None:
    """Publish the endpoint, then run the server until stopped."""
    stop = StopRequest()
    oom_kills_before()  # what is killed from now on is counted
    parser = stage_parser(__doc__, "model", "endpoint")
    parser.add_argument("--adapters", nargs="*", default=[], help="name=folder of LoRA adapters")
    args = parser.parse_args(argv)
    adapters = {name: Path(folder) for name, _, folder in (a.partition("=") for a in args.adapters)}
    spec = {**args.spec, "adapters": adapters}
    log = (args.log or args.endpoint).with_suffix(".vllm.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    write_endpoint(args.endpoint, new_endpoint(spec, log, engine_settings(spec, on_cpu())))
    server = ServerProcess()
    try:
        check_small_files(args.model)
        serve(server, spec, args.model, args.endpoint, stop)
    except StageError as error:
        server.end()
        record_death(args.endpoint, error)
        raise
    finally:
        server.close()
    logger.info("stopped: %s", stop.reason)
    # The key dies with the server. Snakemake removes the file too, whichever comes first.
    args.endpoint.unlink(missing_ok=True)
    seats_file(args.endpoint).unlink(missing_ok=True)


if __name__ == "__main__":
    run_stage(main)
