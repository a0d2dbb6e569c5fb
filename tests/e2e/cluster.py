"""A real Slurm of one node on this machine's loopback, started and stopped by the tests.

The daemons are those of the distribution (envs/debian.sh); they need root. Slurm reads its
configuration below /etc/slurm only: it is written there if there is none, or if it is ours.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ETC = Path("/etc/slurm")
MARK = "# written by the tests of sftflow; they remove it again"
MUNGE_SOCKET = Path("/run/munge/munge.socket.2")

# No cgroups and no accounts, as in many a container; memory is what is said, not what is there.
SLURM = """\
{mark}
ClusterName=sftflow
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
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
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
MinJobAge=300
KillWait=20
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
"""
GRES = "{mark}\nNodeName={host} Name=gpu File={folder}/gpu[0-1]\n"  # empty files for devices

PARTITIONS = """\
partitions:
  cpu: { max_gpu: 0, max_runtime: 7d }
  gpu: { max_gpu: 2, max_runtime: 7d }
"""


def missing() -> str | None:
    """Say why no Slurm can be started here, None if it can."""
    if os.geteuid() != 0:
        return "slurmctld and slurmd need root"
    absent = [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]
    if absent:
        return f"{absent[0]} is not installed (bash envs/debian.sh)"
    conf = ETC / "slurm.conf"
    if conf.exists() and not conf.read_text().startswith(MARK):
        return f"{conf} is somebody else's: this machine has a Slurm of its own"
    return None


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
        self.node = socket.gethostname().split(".")[0]
        self.partitions = folder / "partitions.yaml"

    def jobs(self, rule: str) -> list[str]:
        """Return the ids of the jobs of a rule that run."""
        rows = said("squeue", "--noheader", "--states=R", "--format=%i|%k").splitlines()
        return [row.split("|")[0] for row in rows if f"rule_{rule}" in row.split("|")[1]]

    def states(self) -> list[str]:
        """Return "state comment" of all jobs that Slurm remembers."""
        return said("squeue", "--noheader", "--states=all", "--format=%T %k %P").splitlines()

    def update(self, state: str) -> None:
        """Drain or resume the node."""
        reason = ["reason=test"] if state == "drain" else []
        said("scontrol", "update", f"nodename={self.node}", f"state={state}", *reason)


@contextmanager
def slurm(folder: Path) -> Iterator[Cluster]:
    """Run munged (if none runs), slurmctld and slurmd; end them, and what they have started."""
    cluster = Cluster(folder)
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        (folder / f"gpu{number}").touch()
    filled = {"mark": MARK, "host": cluster.node, "folder": folder, "cpus": 4}
    ETC.mkdir(exist_ok=True)
    (ETC / "slurm.conf").write_text(SLURM.format(**filled))
    (ETC / "gres.conf").write_text(GRES.format(**filled))
    cluster.partitions.write_text(PARTITIONS)
    daemons = [] if MUNGE_SOCKET.exists() and _munge_answers() else [_munged()]
    try:
        daemons.append(_started("slurmctld", "-D", "-c"))
        daemons.append(_started("nice", "-n", "10", "slurmd", "-D", "-c"))
        _wait(lambda: "idle" in said("sinfo", "--noheader", "--format=%t"), "an idle node")
        yield cluster
        said("scancel", f"--nodelist={cluster.node}")
        _wait(lambda: not said("squeue", "--noheader"), "the end of all jobs")
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for name in ("slurm.conf", "gres.conf"):
            (ETC / name).unlink()
        end_what_is_left()


def end_what_is_left() -> int:
    """End what outlived its job, and return how many that were.

    Without cgroups Slurm loses sight of a batch script's children once the script is gone.
    """
    left = [process for process in psutil.process_iter() if _of_our_jobs(process)]
    for process in left:
        process.kill()
    return len(left)


def _of_our_jobs(process: psutil.Process) -> bool:
    try:
        return process.environ().get("SLURM_CLUSTER_NAME") == "sftflow"
    except psutil.Error:
        return False


def _munge_answers() -> bool:
    return subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0


def _munged() -> subprocess.Popen:
    """Start munged as the user that owns the key."""
    for place in ("/run/munge", "/var/lib/munge", "/var/log/munge"):
        Path(place).mkdir(exist_ok=True)
        shutil.chown(place, "munge", "munge")
    Path("/run/munge").chmod(0o755)
    daemon = _started("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups",
                      "munged", "--foreground", "--force")  # fmt: skip
    _wait(_munge_answers, "munge")
    return daemon


def _started(*command: str) -> subprocess.Popen:
    return subprocess.Popen(
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
