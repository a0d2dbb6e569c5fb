"""The doctor on a cluster: quiet on a good one, and a sentence for each fault that is planted."""

from __future__ import annotations

import os

import pytest

from sftflow import clusterchecks
from sftflow.findings import FAULT, OK, WARNING


def levels(found):
    return [finding.level for finding in found]


SINFO = (
    "cpu|up|4|(null)|3-00:00:00|250000+|64\n"
    "gpu*|up|2|gpu:a100:4|infinite|500000|96\n"
    "old|down|1|(null)|infinite|1|1\n"
)
BIG = "infinite|500000|64"
GOOD = "partitions:\n  gpu: { max_gpu: 8, max_runtime: 9d }"
SHOWN = """\
AccountingStorageType   = accounting_storage/none
AuthInfo                = socket=/run/of/slurm
MinJobAge = {age} sec
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Return a function that plants what Slurm's commands say."""
    for name in [name for name in os.environ if name.startswith(("SFTFLOW_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv(clusterchecks.MAP, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def plant(
        ping="Slurmctld(primary) at a is UP",
        sinfo=SINFO,
        age=300,
        munge="exit 0",
        launches=((1, 1),),
    ):
        answers = {
            "scontrol": f'[ "$1" = ping ] && echo "{ping}" || echo "{SHOWN.format(age=age)}"',
            "sinfo": f'printf "{sinfo}"',
            "munge": munge,
            "sacctmgr": "exit 1",  # no accounts are kept
        }
        for name in (*clusterchecks.COMMANDS, "munge", "sacctmgr"):
            script = tmp_path / name
            script.write_text("#!/bin/sh\n" + answers.get(name, "exit 0") + "\n")
            script.chmod(0o755)
        return clusterchecks.cluster_findings(launches)

    return plant


def test_a_good_cluster(slurm):
    found = slurm()
    assert levels(found) == [OK] * 6
    assert "gpu, the cluster's default" in found[2].said


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ({"ping": "Slurmctld(primary) at a is DOWN"}, "does not answer"),
        ({"munge": 'echo "munged is not at $2" >&2; exit 6'}, "not at --socket=/run/of/slurm"),
        ({"sinfo": f"cpu|down|4|(null)|{BIG}\\n"}, "none is up"),
        ({"sinfo": f"cpu|up|4|gpu:1|{BIG}\\n"}, "no default one"),
        ({"sinfo": f"cpu*|up|4|(null)|{BIG}\\n"}, "no node has any"),
        ({"sinfo": f"cpu*|up|4|(null)|{BIG}\\nfast|up|4|gpu:2|{BIG}\\n"}, "go to cpu, without any"),
        ({"sinfo": "all*|up|4|gpu:1|12:00:00|500000|64\\n"}, "time limit is 12 h, but jobs ask"),
        ({"sinfo": "all*|up|4|gpu:1|30:00|500000|64\\n"}, "time limit is 0.5 h, but jobs ask"),
        ({"sinfo": "all*|up|4|gpu:1|infinite|32000|64\\n"}, "is 32000 MB, but jobs ask for 64000"),
        ({"sinfo": "all*|up|4|gpu:1|infinite|1|64\\n"}, "counts no memory"),
        ({"sinfo": "all*|up|4|gpu:1|infinite|500000|4\\n"}, "ask for 8 cores, nodes have 4"),
    ],
)
def test_a_cluster_that_lacks_something(slurm, planted, words):
    faults = [finding for finding in slurm(**planted) if finding.level == FAULT]
    assert len(faults) == 1
    assert words in faults[0].said and faults[0].todo


def test_more_gpus_for_a_job_than_a_node_has(slurm):
    sinfo = f"all*|up|4|gpu:a100:4(S:0,1),mps:400|{BIG}\\n"
    assert FAULT not in levels(slurm(sinfo=sinfo, launches=[(4, 1), (16, 4)]))
    (wide,) = [f for f in slurm(sinfo=sinfo, launches=[(8, 1), (16, 4)]) if f.level == FAULT]
    assert wide.said == "a job asks for 8 on a node, which has 4" and "num_nodes" in wide.todo


def test_a_cluster_that_forgets_jobs_soon_and_keeps_no_accounts(slurm):
    late = [finding for finding in slurm(age=10) if finding.level == WARNING]
    assert len(late) == 1 and "forgotten after 10 s" in late[0].said


def test_the_limits_of_the_partition_with_gpus_count_for_those(slurm, monkeypatch):
    monkeypatch.setenv(clusterchecks.PARTITION, "cpu,gpu")
    short = f"cpu|up|4|(null)|{BIG}\\ngpu|up|2|gpu:2|6:00:00|500000|96\\n"
    assert [finding.said for finding in slurm(sinfo=short) if finding.level == FAULT] == [
        "the largest time limit is 6 h, but jobs ask for 24 h"
    ]
    monkeypatch.setenv(clusterchecks.GPUS, "0")
    assert FAULT not in levels(slurm(sinfo=short))


def test_partitions_that_the_environment_names(slurm, monkeypatch, tmp_path):
    monkeypatch.setenv(clusterchecks.PARTITION, "gpu")
    assert FAULT not in levels(slurm())
    monkeypatch.setenv(clusterchecks.PARTITION, "old")
    assert any("old, which is not up" in finding.said for finding in slurm())
    monkeypatch.delenv(clusterchecks.PARTITION)
    table = tmp_path / "partitions.yaml"
    table.write_text("partitions:\n  cpu: { max_runtime: 2d }\n  dgx: { max_gpu: 8 }\n")
    monkeypatch.setenv(clusterchecks.MAP, str(table))
    assert [f.said for f in slurm() if f.level == FAULT] == [
        f"{table}: dgx names dgx, which is not up"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cpu: 1\n", "missing 'partitions' section"),
        ("partitions:\n  cpu: { max_time: 2d }\n", "max_time"),
        ("partitions:\n  cpu: { max_runtime: soon }\n", "Invalid time format"),
        ("partitions:\n  gpu: { max_gpu: 8 }\n", "jobs without GPUs find none"),
        ("partitions:\n  gpu: { max_runtime: 2d }\n", "jobs with GPUs find none"),
        (f"{GOOD}\n  cpu: {{ max_runtime: 4d }}\n", "jobs of 96 h, but takes 72 h"),
        (f"{GOOD}\n  cpu: {{ max_runtime: 3d, max_gpu: 1 }}\n", "cpu is said to have GPUs"),
        (None, "not found"),
    ],
)
def test_a_map_with_which_jobs_find_no_partition(slurm, monkeypatch, tmp_path, text, words):
    table = tmp_path / "partitions.yaml"
    if text is not None:
        table.write_text(text)
    monkeypatch.setenv(clusterchecks.MAP, str(table))
    faults = [finding for finding in slurm() if finding.level == FAULT]
    assert len(faults) == 1 and words in faults[0].said and "\n" not in faults[0].said


def test_the_limits_of_the_partition_to_which_a_map_sends_gpus_count(slurm, monkeypatch, tmp_path):
    table = tmp_path / "partitions.yaml"
    table.write_text(
        "partitions:\n  long: { max_runtime: 9d, max_gpu: 0 }\n"
        "  short: { max_runtime: 6h, max_gpu: 2 }\n"
    )
    monkeypatch.setenv(clusterchecks.MAP, str(table))
    both = f"long|up|4|gpu:2|{BIG}\\nshort|up|2|gpu:2|6:00:00|500000|96\\n"
    assert [finding.said for finding in slurm(sinfo=both) if finding.level == FAULT] == [
        "the largest time limit is 6 h, but jobs ask for 24 h"
    ]


def test_the_last_attempt_of_a_job_fits_too(slurm, monkeypatch):
    day = "all*|up|4|gpu:1|1-00:00:00|100000|64\n"
    late = [finding for finding in slurm(sinfo=day) if finding.level == WARNING]
    assert [finding.todo for finding in late] == [
        "export SFTFLOW_SLURM_MAX_HOURS=24",
        "export SFTFLOW_SLURM_MAX_MEM_MB=90000",
    ]
    for finding in late:
        monkeypatch.setenv(*finding.todo.removeprefix("export ").split("="))
    assert set(levels(slurm(sinfo=day))) == {OK}
    for name in ("MAX_HOURS", "CORES"):
        monkeypatch.setenv(f"SFTFLOW_SLURM_{name}", "a day")
        assert any("is no number" in finding.said for finding in slurm(sinfo=day))
        monkeypatch.delenv(f"SFTFLOW_SLURM_{name}")


def test_a_machine_without_slurm(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    (found,) = clusterchecks.cluster_findings()
    assert found.level == OK and "none here" in found.said
