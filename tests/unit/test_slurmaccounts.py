"""Limits of QOS, accounts and partitions: told if a job would wait for ever, else not.

The tables of accounts are worded as sacctmgr(1) of Slurm 22.05 has them; that of a partition was
recorded.
"""

from __future__ import annotations

import getpass
import os

import pytest

from sftflow import slurmaccounts
from sftflow.findings import FAULT, OK, WARNING
from sftflow.slurmaccounts import account_findings
from sftflow.slurmquotas import ASSOCIATION_COLUMNS, QOS_COLUMNS, counts

CONFIG = """\
AccountingStorageEnforce = associations,limits,qos
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = c
"""
PARTITION = (
    "PartitionName={name} AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL "
    "Default=YES QoS={qos} DefaultTime=00:05:00 DisableRootJobs=NO ExclusiveUser=NO "
    "GraceTime=0 Hidden=NO MaxNodes=UNLIMITED MaxTime=12:00:00 MinNodes=0 LLN=NO "
    "MaxCPUsPerNode={cpus} Nodes=node017 PriorityJobFactor=1 PriorityTier=1 RootOnly=NO ReqResv=NO "
    "OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs=4 TotalNodes=1 "
    "SelectTypeParameters=NONE JobDefaults=(null) DefMemPerCPU=500 MaxMemPerNode={mem}\n"
)
ME = getpass.getuser()


def table(columns, *rows):
    """Return rows as sacctmgr writes them, from what stands in some of their columns."""
    unknown = {name for row in rows for name in row} - set(columns)
    assert not unknown
    return "".join("|".join(row.get(name, "") for name in columns) + "\n" for row in rows)


@pytest.fixture
def told(monkeypatch):
    """Return a function that plants tables and returns what is found of one partition, or two."""
    for name in [name for name in os.environ if name.startswith(("SFTFLOW_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    for name in ("MAX_HOURS", "MAX_MEM_MB"):  # a last attempt asks for no more than the first
        monkeypatch.setenv(f"SFTFLOW_SLURM_{name}", {"MAX_HOURS": "24"}.get(name, "64000"))
    monkeypatch.setattr(slurmaccounts.shutil, "which", lambda name: f"/usr/bin/{name}")

    def look(qos=(), mine=None, accounts=(), enforce=None, partitions=({},), gpus=1, nodes=1):
        mine = {"account": "lab", "user": ME, "qos": "normal", "defaultqos": "normal"} | (
            mine or {}
        )
        plain = {"qos": "N/A", "cpus": "UNLIMITED", "mem": "UNLIMITED"}
        shown = [plain | {"name": f"p{n}"} | part for n, part in enumerate(partitions)]
        said = {
            "qos": table(QOS_COLUMNS, *qos),
            "associations": table(ASSOCIATION_COLUMNS, *accounts, mine),
            "user": "lab\n",
            "partition": "".join(PARTITION.format(**part) for part in shown),
        }
        monkeypatch.setattr(
            slurmaccounts, "_said", lambda *command: said[command[command.index("show") + 1]]
        )
        config = CONFIG if enforce is None else CONFIG.replace("associations,limits,qos", enforce)
        return account_findings(config, [part["name"] for part in shown], gpus, nodes)

    return look


def faults(found):
    return [
        finding.said.split(" lets a job have ")[-1] for finding in found if finding.level == FAULT
    ]


SHORT = {"name": "normal", "maxwall": "12:00:00"}


@pytest.mark.parametrize(
    ("planted", "words", "todo"),
    [
        ({"qos": [SHORT]}, "12 h at most (MaxWall), but a job asks for 24 h", "MAX_HOURS=12"),
        ({"mine": {"maxwall": "06:00:00"}}, "6 h at most (MaxWall)", "MAX_HOURS=6"),
        ({"qos": [{"name": "normal", "maxtres": "cpu=4"}]}, "4 cores at most", "CORES=4"),
        ({"qos": [{"name": "normal", "maxtrespu": "mem=32G"}]}, "32768 MB at most", "=22768"),
        ({"qos": [{"name": "normal", "maxtrespa": "mem=8000M"}]}, "8000 MB at most", "=4000"),
        (
            {"qos": [{"name": "normal", "grptres": "gres/gpu=0"}]},
            "0 GPUs at most (GrpTRES)",
            "lower",
        ),
        (
            {"qos": [{"name": "normal", "maxtresmins": "cpu=5760"}]},
            "5760 core-minutes",
            "_HOURS=12",
        ),
        ({"mine": {"maxtres": "cpu=64,gres/gpu=2,node=1"}, "gpus": 4}, "2 GPUs at most", "lower"),
        ({"mine": {"maxtres": "node=1"}, "nodes": 2}, "1 node at most", "launch.num_nodes"),
        ({"partitions": [{"mem": "48000"}]}, "48000 MB at most (MaxMemPerNode)", "=38000"),
        ({"partitions": [{"cpus": "2"}]}, "2 cores at most (MaxCPUsPerNode)", "CORES=2"),
        (
            {"qos": [{"name": "normal", "mintres": "gres/gpu=1"}]},
            "1 GPU at least",
            "another `qos`",
        ),
    ],
)
def test_a_job_that_would_wait_for_ever_is_told(told, planted, words, todo):
    (finding,) = [finding for finding in told(**planted) if finding.level == FAULT]
    assert words in finding.said and "for ever" in finding.said and todo in finding.todo
    unenforced = told(**planted | {"enforce": "associations"})
    assert bool(unenforced) == ("partitions" in planted)


def test_what_is_large_enough_is_not_told(told, monkeypatch):
    wide = {"maxwall": "1-00:00:00", "maxtres": "cpu=8,mem=80G,gres/gpu=1,node=1,billing=1"}
    assert told(qos=[{"name": "normal", **wide, "maxtresmins": "cpu=11520"}], mine=wide) == []
    assert told(qos=[{"name": "other", "maxwall": "00:01:00"}]) == []
    monkeypatch.setenv("SFTFLOW_SLURM_MAX_HOURS", "12")
    assert told(qos=[SHORT]) == []
    assert told(mine={"user": "somebody", "maxwall": "00:01:00"}) == []


def test_the_limit_that_stands_first_holds(told):
    long = {"name": "long", "maxwall": "2-00:00:00"}
    assert told(qos=[long, SHORT], partitions=[{"qos": "long"}]) == []
    assert len(faults(told(qos=[long, {**SHORT, "flags": "DenyOnLimit,OverPartQOS"}]))) == 1
    over = {**SHORT, "flags": "OverPartQOS"}
    assert len(faults(told(qos=[long, over], partitions=[{"qos": "long"}]))) == 1
    # A QOS counts before an association, but for that limit alone.
    mine = {"maxwall": "01:00:00", "maxtres": "cpu=1"}
    long["name"] = "normal"
    assert [said.split(",")[0] for said in faults(told(qos=[long], mine=mine))] == [
        "1 core at most (MaxTRES)"
    ]


def test_limits_of_groups_hold_for_all_accounts_above(told):
    accounts = [
        {"account": "root", "grptres": "cpu=2"},
        {"account": "faculty", "parentname": "root", "maxwall": "00:01:00"},
        {"account": "lab", "parentname": "faculty", "grptres": "cpu=6"},
        {"account": "others", "parentname": "root", "grptres": "mem=1G"},
    ]
    (said,) = faults(told(accounts=accounts))
    assert said.startswith("2 cores at most (GrpTRES)")


def test_one_partition_that_is_large_enough_will_do(told):
    assert told(partitions=[{"mem": "100"}, {}]) == []
    assert len(told(partitions=[{"mem": "100"}, {"mem": "200"}])) == 1


def test_a_last_attempt_is_warned_of(told, monkeypatch):
    monkeypatch.delenv("SFTFLOW_SLURM_MAX_HOURS")
    (found,) = told(qos=[{"name": "normal", "maxwall": "2-00:00:00"}])
    assert found.level == WARNING and "last attempt asks for 72 h" in found.said
    monkeypatch.setenv(*found.todo.removeprefix("export ").split("="))
    assert told(qos=[{"name": "normal", "maxwall": "2-00:00:00"}]) == []


def test_a_qos_that_would_do_is_named(told, monkeypatch):
    qos = [SHORT, {"name": "tiny", "maxtres": "cpu=1"}, {"name": "long", "maxwall": "7-00:00:00"}]
    mine = {"qos": "long,normal,tiny"}
    (found,) = told(qos=qos, mine=mine)
    assert found.todo == "export SFTFLOW_SLURM_MAX_HOURS=12, or export SBATCH_QOS=long"
    monkeypatch.setenv("SBATCH_QOS", "long")
    assert told(qos=qos, mine=mine) == []
    monkeypatch.setenv("SBATCH_QOS", "secret")
    (found,) = told(qos=qos, mine=mine)
    assert "may not use" in found.said and "long, normal, tiny" in found.todo


def test_the_account_that_the_environment_names(told, monkeypatch):
    accounts = [{"account": "other", "user": ME, "maxwall": "01:00:00", "qos": "normal"}]
    assert told(accounts=accounts) == []
    monkeypatch.setenv("SBATCH_ACCOUNT", "Other")
    known, found = told(accounts=accounts)
    assert known.level == OK and "account other lets a job have 1 h" in found.said
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    (found,) = told(accounts=accounts)
    assert found.level == FAULT and found.todo == "name one of lab, other"


def test_counts_of_all_units():
    said = "cpu=2,mem=1.5T,gres/gpu=4,gres/gpu:a100=1,node=N,billing=7"
    assert dict(counts(said)) == {"cores": 2, "mem_mb": 1.5 * 2**20, "gpus": 4}
