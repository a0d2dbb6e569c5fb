"""A real Slurm of one node on this machine's loopback, started and stopped by the tests.

The daemons are those of the distribution (envs/debian.sh); they need root. All that is theirs lies
in one folder, which `SLURM_CONF` names: a Slurm that this machine has already is not touched.

usage   cluster.py FOLDER   runs it until its standard input ends, which is also when whoever
                            holds the other end of it is killed

Whatever belongs to it has its configuration in the environment, and so is found and ended.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

NODE = "node017"
READY = "ready"

# Unlike a plain one where that is allowed: limits of time that are enforced at once, GPUs with a
# type, in another partition than the default one, jobs that are not requeued unless they ask for it
# and are forgotten within seconds, names of its own for the node and for munge's socket. No cgroups
# and no accounts, as in many a container; memory and GPUs are what is said, not what is there.
SLURM = """\
ClusterName=sftflow
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/ended.txt
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=1
JobRequeue=0
EnforcePartLimits=ALL
MinJobAge=2
KillWait=20
GresTypes=gpu
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 \
Gres=gpu:a100:2 State=UNKNOWN
PartitionName=DEFAULT Nodes=ALL State=UP DefMemPerCPU=500 DefaultTime=5
PartitionName=batch Default=YES MaxTime=12:00:00
PartitionName=accel MaxTime=1-00:00:00
"""
GRES = "NodeName={node} Name=gpu Type=a100 File={folder}/gpu[0-1]\n"  # empty files for devices

PARTITION_MAP = """\
partitions:
  batch: { max_gpu: 0, max_runtime: 12h }
  accel: { max_gpu: 2, max_runtime: 1d }
"""


def missing() -> str | None:
    """Say why no Slurm can be started here, None if it can."""
    if os.geteuid() != 0:
        return "slurmctld and slurmd need root"
    absent = [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]
    return f"{absent[0]} is not installed (bash envs/debian.sh)" if absent else None


def said(*command: str) -> str:
    """Return what a command of Slurm's prints; fail if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout.strip()


class Cluster:
    """The running Slurm."""

    def __init__(self, folder: Path) -> None:
        """Keep where its files are."""
        self.folder = folder
        self.partitions = folder / "partitions.yaml"

    def jobs(self, rule: str, state: str) -> list[str]:
        """Return "id limit" of the jobs of a rule that wait ("PENDING") or run ("RUNNING")."""
        rows = said("squeue", "--noheader", f"--states={state}", "--format=%i %l|%k").splitlines()
        return [row.split("|")[0] for row in rows if f"rule_{rule}" in row.split("|")[1]]

    def ended(self) -> list[tuple[str, str, str]]:
        """Return id, state and partition of all that has ended; a requeued job is there twice."""
        text = (self.folder / "ended.txt").read_text()
        found = re.compile(r"^JobId=(\d+) .* JobState=(\w+) Partition=(\w+)", re.MULTILINE)
        return found.findall(text)

    def update(self, state: str) -> None:
        """Drain, lose or resume the node."""
        reason = [] if state == "resume" else ["reason=test"]
        said("scontrol", "update", f"nodename={NODE}", f"state={state}", *reason)


@contextmanager
def slurm(folder: Path) -> Iterator[Cluster]:
    """Have a Slurm run in ``folder``, in a process that ends it when this one is gone."""
    cluster = Cluster(folder)
    conf = _written(folder)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    owner = subprocess.Popen(
        [sys.executable, __file__, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests
        env={name: value for name, value in os.environ.items() if name != "SLURM_CONF"},
    )
    try:
        assert owner.stdout.readline().strip() == READY, "no Slurm; the lines above say why"
        yield cluster
    finally:
        owner.stdin.close()
        owner.wait(120)
        owner.stdout.close()
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


def _written(folder: Path) -> Path:
    """Write Slurm's configuration, and return its place."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        (folder / f"gpu{number}").touch()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    filled = {
        "folder": folder,
        "host": socket.gethostname().split(".")[0],
        "node": NODE,
        "ports": _free_ports(2),
    }
    (folder / "gres.conf").write_text(GRES.format(**filled))
    (folder / "partitions.yaml").write_text(PARTITION_MAP)
    conf = folder / "slurm.conf"
    conf.write_text(SLURM.format(**filled))
    return conf


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody has now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def main(folder: Path) -> None:
    """Run the daemons until the standard input ends; then end them, and what they started."""
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket"]
    munge += [f"--key-file={folder}/munge.key", f"--pid-file={folder}/munged.pid"]
    munge += [f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"]
    daemons = []
    try:
        daemons.append(_started(*munge))
        _wait((folder / "munge.socket").exists, "munge")
        daemons.append(_started("slurmctld", "-D", "-c"))
        daemons.append(_started("nice", "-n", "10", "slurmd", "-D", "-c"))
        _wait(lambda: "idle" in said("sinfo", "--noheader", "--format=%t"), "an idle node")
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        _end(folder, daemons)


def _end(folder: Path, daemons: list[psutil.Process]) -> None:
    """End jobs, then the daemons, then what heard of neither."""
    own = {daemon.pid for daemon in daemons}
    for part in ([p for p in processes_of(folder) if p.pid not in own], daemons[::-1]):
        for process in part:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        psutil.wait_procs(part, 15)
    for process in processes_of(folder):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return what belongs to the Slurm of a folder: daemons, jobs and what they left behind.

    Without cgroups Slurm loses sight of a batch script's children once the script is gone.
    """
    return [process for process in psutil.process_iter() if _belongs(process, folder)]


def _belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("SLURM_CONF") == str(folder / "slurm.conf")
    except psutil.Error:
        return False


def _started(*command: str) -> psutil.Popen:
    return psutil.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _wait(condition, what: str, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except AssertionError:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, f"no {what} in {timeout_s} s"
        time.sleep(0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
