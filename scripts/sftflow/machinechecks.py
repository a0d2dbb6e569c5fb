"""What the doctor asks of a machine: memory, disk, locks, ports, GPUs and their driver."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from sftflow.devices import gpu_count
from sftflow.findings import Finding, fault, ok, warning
from sftflow.hardware import memory_bytes

GIB = 2**30
# The embedded default, measured from its start to its page: 3 GiB in use, 1 GiB written.
LEAST_MEMORY_GIB, GOOD_MEMORY_GIB = 4, 12
LEAST_DISK_GIB, GOOD_DISK_GIB = 3, 30
GOOD_SHARED_GIB = 1
GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
SHARED = "/dev/shm"  # noqa: S108 (a kind of memory, not a place for files)
PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def machine_findings(folder: Path) -> list[Finding]:
    """Return what can be said of this machine, for a workflow that works in ``folder``."""
    return [memory(), disk(folder), locks(folder), shared_memory(), loopback(), proxies(), gpus()]


def usable_memory() -> int:
    """Return the bytes of memory that this process may use: a container has a limit of its own."""
    limits = [memory_bytes()]
    for path in map(Path, GROUP_LIMITS):
        text = path.read_text().strip() if path.exists() else "max"
        limits += [int(text)] if text.isdigit() else []
    return min(limits)


def memory() -> Finding:
    """Say how much memory there is."""
    gib = usable_memory() / GIB
    said = f"{gib:.0f} GiB"
    if gib < LEAST_MEMORY_GIB:
        return fault("memory", said, f"vLLM and a training need {LEAST_MEMORY_GIB} GiB at least")
    if gib < GOOD_MEMORY_GIB:
        return warning("memory", said, "give Snakemake --cores 1, so that few stages run at a time")
    return ok("memory", said)


def nearest(folder: Path) -> Path:
    """Return ``folder`` or, if there is none yet, the nearest folder above it."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def disk(folder: Path) -> Finding:
    """Say how much can be written where results/ is, or will be."""
    place = nearest(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        return fault("disk", f"{place} can't be written", "give --directory a folder of your own")
    gib = shutil.disk_usage(place).free / GIB
    said = f"{gib:.0f} GiB free in {place}"
    if gib < LEAST_DISK_GIB:
        return fault("disk", said, "make room, or give --directory a folder elsewhere")
    if gib < GOOD_DISK_GIB:
        return warning("disk", said, "enough for small models; a run of a 7B keeps some 45 GiB")
    return ok("disk", said)


def locks(folder: Path) -> Finding:
    """Say whether files can be locked there: servers and invocations are kept apart by locks."""
    place = nearest(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=place) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return fault(
            "locks",
            f"no file can be locked in {place} ({error.strerror})",
            "mount it with flock (Lustre: -o flock; NFS: version 4), or work in another folder",
        )
    return ok("locks", f"flock works in {place}")


def shared_memory() -> Finding:
    """Say how large /dev/shm is, through which processes of one server or training talk."""
    if not Path(SHARED).is_dir():
        return fault(SHARED, "there is none", "mount a tmpfs there")
    mib = shutil.disk_usage(SHARED).free / 2**20
    if mib < GOOD_SHARED_GIB * 1024:
        return warning(
            SHARED,
            f"{mib:.0f} MiB free",
            "too little for several GPUs; start a container with --shm-size=8g (apptainer has all)",
        )
    return ok(SHARED, f"{mib / 1024:.0f} GiB free")


def loopback() -> Finding:
    """Say whether a server on 127.0.0.1 can be reached."""
    try:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            port = server.getsockname()[1]
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as error:
        return fault("ports", f"127.0.0.1 can't be used ({error})", "bring the interface lo up")
    return ok("ports", "a server on 127.0.0.1 is reached")


def proxies() -> Finding:
    """Say whether a proxy would come between a server on 127.0.0.1 and those that ask it."""
    proxy = next((name for name in PROXIES if os.environ.get(name)), None)
    spared = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    if proxy and "127.0.0.1" not in spared and spared.strip() != "*":
        return warning(
            "proxy",
            f"{proxy} is set and no_proxy does not name 127.0.0.1",
            "export no_proxy=127.0.0.1,localhost, or clients may look for the server elsewhere",
        )
    return ok("proxy", "none stands between this machine and itself")


def gpus() -> Finding:
    """Say which NVIDIA GPUs the driver shows, and whether others use them."""
    if not gpu_count():
        return ok("GPU", "none: everything runs on the CPU, qlora and fsdp can't")
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.used"]
    try:
        done = subprocess.run(
            [*query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = (getattr(error, "stdout", "") or str(error)).strip().splitlines()[0]
        return fault("GPU", f"nvidia-smi fails: {why}", "load the NVIDIA driver, or install it")
    return told_gpus([line.split(", ") for line in done.stdout.strip().splitlines()])


def told_gpus(rows: list[list[str]]) -> Finding:
    """Return the finding about GPUs of (name, driver, MiB in all, MiB used)."""
    names = ", ".join(f"{name} {int(total) / 1024:.0f} GiB" for name, _, total, _ in rows)
    said = f"{names}; driver {rows[0][1]}"
    used = [at for at, (_, _, total, taken) in enumerate(rows) if int(taken) > 0.1 * int(total)]
    if used:
        return warning(
            "GPU",
            f"{said}; others use number {', '.join(map(str, used))}",
            "export CUDA_VISIBLE_DEVICES with free ones, or lower serve.gpu_memory_utilization",
        )
    return ok("GPU", said)
