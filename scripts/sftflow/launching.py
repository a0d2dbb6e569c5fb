"""A stage in several processes: it starts itself again through ``accelerate launch``.

On several nodes Slurm's ``srun`` starts a launcher on each; the processes meet at the first.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.stage import StageError, console

logger = logging.getLogger("sftflow")

STRATEGIES = {
    "ddp": ["--multi_gpu"],
    "fsdp": [
        "--use_fsdp",
        "--fsdp_version=2",
        "--fsdp_auto_wrap_policy=TRANSFORMER_BASED_WRAP",
        "--fsdp_reshard_after_forward=true",
        "--fsdp_state_dict_type=FULL_STATE_DICT",
    ],
    "deepspeed2": ["--use_deepspeed", "--zero_stage=2"],
    "deepspeed3": ["--use_deepspeed", "--zero_stage=3", "--zero3_save_16bit_model=true"],
}
LAUNCHER = "accelerate.commands.launch"
SHARDED = ("fsdp", "deepspeed2", "deepspeed3")
# Each task of srun is a node of accelerate's, with its own number.
ON_NODE = f'exec "$0" -m {LAUNCHER} --machine_rank="$SLURM_PROCID" "$@"'
SHOWN = re.compile(r"^\[\w+\] (.*)$")  # how stage.Console marks its lines
FAULT = re.compile(r" ERROR sftflow: (.*)$")
KILLED = re.compile(r"failed \(exitcode: -(\d+)\)")  # torch's word on the first that ended so
TAKEN = re.compile(r"EADDRINUSE|another process is utilizing it")  # torch's words, accelerate's


def is_launched() -> bool:
    """Say whether this process is one of several that were started together."""
    return "LOCAL_RANK" in os.environ


def is_first() -> bool:
    """Say whether this process is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


def check_devices(launch: Mapping[str, Any], gpus: int) -> None:
    """Raise StageError if the processes can't all have a device of their own (of a node's)."""
    count, strategy, nodes = launch["num_processes"], launch["strategy"], node_count(launch)
    if nodes > 1 and ("SLURM_JOB_ID" not in os.environ or shutil.which("srun") is None):
        raise StageError(
            f"launch.num_nodes is {nodes}, and this is no job of Slurm: start the workflow with "
            "--profile profiles/slurm"
        )
    if gpus and count > gpus * nodes:
        here = f"{gpus} GPUs" if nodes == 1 else f"{nodes} nodes with {gpus} GPUs each"
        raise StageError(f"launch.num_processes is {count}, but there are {here}")
    if not gpus and strategy in SHARDED:
        raise StageError(f"launch.strategy {strategy} needs GPUs and there are none; use ddp")
    check_packages(launch)


def needed_packages(launch: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the packages that a launch needs beside the locked ones, and that shape its result."""
    shared = launch["num_processes"] > 1 and launch["strategy"].startswith("deepspeed")
    return ("deepspeed",) if shared else ()


def lacking_package(launch: Mapping[str, Any]) -> str | None:
    """Return the first of those packages that is not installed, None if all are."""
    return next((p for p in needed_packages(launch) if importlib.util.find_spec(p) is None), None)


def check_packages(launch: Mapping[str, Any]) -> None:
    """Raise StageError if what a strategy needs beside the locked packages is not installed."""
    if lacking := lacking_package(launch):
        raise StageError(
            f"launch.strategy {launch['strategy']} needs {lacking}, which is not installed; run "
            f"`make {lacking}` or use fsdp"
        )


def node_count(launch: Mapping[str, Any]) -> int:
    """Return the nodes of a training; a spec names them if there are several."""
    return launch.get("num_nodes", 1)


def free_port() -> int:
    """Return a TCP port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def launch_command(
    launch: Mapping[str, Any], argv: Sequence[str], dtype: str, accumulation: int
) -> list[str]:
    """Return the command that starts ``argv`` (script and arguments) in several processes."""
    nodes = node_count(launch)
    precision = {"bfloat16": "bf16", "float16": "fp16"}.get(dtype, "no")
    options = list(STRATEGIES[launch["strategy"]])
    if launch["strategy"].startswith("deepspeed"):
        options.append(f"--gradient_accumulation_steps={accumulation}")
    if nodes == 1:
        start = [sys.executable, "-m", LAUNCHER]
        options.append("--main_process_port=0")  # any free one
    else:
        start = ["srun", f"--ntasks={nodes}", "--cpu-bind=none", "--kill-on-bad-exit=1"]
        start += ["sh", "-c", ON_NODE, sys.executable]
        options += ["--same_network", f"--main_process_ip={socket.gethostname()}"]
        if launch["strategy"].startswith("deepspeed"):
            options.append("--deepspeed_multinode_launcher=standard")  # srun has started them
        options.append(f"--main_process_port={free_port()}")
    return [
        *start,
        *options,
        f"--num_processes={launch['num_processes']}",
        f"--num_machines={nodes}",
        f"--mixed_precision={precision}",
        "--dynamo_backend=no",
        *argv,
    ]


def without_log(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` without --log: the processes write to the log of who started them."""
    at = list(argv).index("--log") if "--log" in argv else len(argv)
    return [*argv[:at], *argv[at + 2 :]]


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies: whoever is killed leaves no workers."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG


def end_with_launcher() -> None:
    """End when the launcher of this process dies, also if it died before this was asked."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # torch's launcher sets it
        return
    end_with_parent()
    if LAUNCHER.encode() not in Path(f"/proc/{os.getppid()}/cmdline").read_bytes():
        os.kill(os.getpid(), signal.SIGTERM)


def run_launched(command: Sequence[str], on_cpu: bool) -> None:
    """Run ``command`` to its end; pass its console lines on; raise StageError if it fails."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if on_cpu:
        environment["ACCELERATE_USE_CPU"] = "true"
    logger.info("launching: %s", " ".join(command))
    child = subprocess.Popen(
        list(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=end_with_parent,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: child.send_signal(received))
    fault = ""
    for line in child.stdout or ():
        sys.stderr.write(line)
        if shown := SHOWN.match(line.rstrip()):
            console().say(shown.group(1))
        if found := FAULT.search(line.rstrip()):
            fault = found.group(1)
        elif TAKEN.search(line):
            fault = (
                "the port at which the processes were to meet was taken by another program in "
                "the moment before; start the workflow again"
            )
        elif (killed := KILLED.search(line)) and not fault:
            fault = (
                f"a training process was ended by {signal.Signals(int(killed.group(1))).name}: by "
                "somebody, or because the machine was out of memory; see the log and dmesg; the "
                "next start goes on from the last checkpoint"
            )
    code = child.wait()
    if code:
        raise StageError(fault or f"a training process ended with status {code}; see the log")


def launch_again(script: Path, spec: Mapping[str, Any], argv: Sequence[str]) -> None:
    """Run a training script in several processes; only the first of them writes."""
    import torch

    from sftflow.training import computing_dtype

    launch, gpus = spec["launch"], torch.cuda.device_count()
    check_devices(launch, gpus)
    dtype = computing_dtype(spec["training"]["dtype"])
    accumulation = spec["training"]["gradient_accumulation_steps"]
    command = launch_command(launch, [str(script), *without_log(argv)], dtype, accumulation)
    run_launched(command, on_cpu=not gpus)
