"""Run Python programs in forks of a process that has imported what they all import.

A table of 81 edits starts Snakemake and some hundred stages: seven of ten seconds of a training
of three steps are imports. A program started here is a process of its own with its own command
line, folder, environment, streams and exit status, and reads its own code from its own files:
nothing of sftflow is imported here, only installed packages are.

`python server.py SOCKET [PACKAGE ...]`; `python` beside it is what asks, in place of the real one.
"""

from __future__ import annotations

import array
import atexit
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path

PACKAGES = [
    *("torch", "transformers", "peft", "accelerate", "safetensors.torch", "bitsandbytes"),
    *("pandas", "pyarrow.parquet", "pyarrow.compute", "pyarrow.dataset"),
    *("sklearn.metrics", "scipy.stats", "statsmodels.api", "sacrebleu"),
    *("altair", "jinja2", "jsonschema", "openai", "httpx", "aiohttp", "rapidfuzz", "ftfy"),
    "snakemake.cli",
]
# Imported as soon as they are asked for; a name of each makes it so.
LAZY = [
    ("transformers", "Qwen2ForCausalLM"),
    ("transformers", "AutoTokenizer"),
    ("trl", "SFTTrainer"),
]


def imported(packages: list[str]) -> None:
    """Import these packages, or, if there are none, what stages share."""
    for name in packages or PACKAGES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != "bitsandbytes":  # in the GPU environment only
                raise
    for package, name in LAZY if not packages else ():
        getattr(importlib.import_module(package), name)
    if "sftflow" in sys.modules:
        raise SystemExit("error: a project must find its own sftflow, not this one's")
    if threading.active_count() > 1:
        raise SystemExit(f"error: an import started threads: {threading.enumerate()}")


def received(connection: socket.socket) -> tuple[dict, list[int]]:
    """Return what is asked for, and the three streams of who asks."""
    text, streams, _, _ = socket.recv_fds(connection, 1 << 22, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 22)
    return json.loads(text), list(streams)


def be(asked: dict, streams: list[int], cache: Path) -> int:
    """Be the program: in its process. Return its exit status."""
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    program = asked["line"][0]
    if "datasets" in sys.modules:  # a stage chooses the folder before it imports the package
        sys.modules["datasets"].config.HF_DATASETS_CACHE = cache
    threads = int(os.environ.get("OMP_NUM_THREADS", 0))
    if threads > 0 and "torch" in sys.modules:  # 0: beside a server
        sys.modules["torch"].set_num_threads(threads)
    sys.argv = asked["line"]
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [str(Path(program).absolute().parent), *paths]
    importlib.invalidate_caches()
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
            return 1
        return int(ended.code or 0)
    return 0


def forked(asked: dict, streams: list[int], cache: Path) -> int:
    """Start the program; return its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        status = be(asked, streams, cache)
    except BaseException:  # as the interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()  # as the interpreter does, which is not left in this way
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                status = status or 1
        os._exit(status)


def attend(connection: socket.socket) -> None:
    """Start what is asked for, and tell who asks how it ended. If they are gone, end it."""
    asked, streams = received(connection)
    with tempfile.TemporaryDirectory() as cache:
        child = forked(asked, streams, Path(cache))
        for stream in streams:
            os.close(stream)
        ended = os.pidfd_open(child)
        if ended not in select.select([ended, connection], [], [])[0]:
            os.kill(child, signal.SIGTERM)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        connection.sendall(array.array("i", [status]).tobytes())
    except OSError:
        return  # nobody is there to be told


def main() -> None:
    """Listen until standard input ends, which it does with the process that started this one."""
    imported(sys.argv[2:])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who attend end by themselves
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection = listener.accept()[0]
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                attend(connection)
                os._exit(0)
            connection.close()
    os._exit(0)  # what was imported need not be taken down


if __name__ == "__main__":
    main()
