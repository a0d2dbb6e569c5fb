import sys

import pytest

from sftflow.launching import check_devices, launch_command, run_launched, without_log
from sftflow.stage import StageError


def test_the_command_names_processes_strategy_and_precision():
    launch = {"num_processes": 4, "strategy": "deepspeed3"}
    command = launch_command(launch, ["train.py", "--spec", "{}"], "bfloat16", 2)
    assert command[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    for option in ("--num_processes=4", "--zero_stage=3", "--mixed_precision=bf16"):
        assert option in command
    assert "--gradient_accumulation_steps=2" in command
    assert command[-3:] == ["train.py", "--spec", "{}"]
    ddp = launch_command({"num_processes": 2, "strategy": "ddp"}, [], "float32", 2)
    assert "--multi_gpu" in ddp
    assert "--mixed_precision=no" in ddp


@pytest.mark.parametrize(
    ("count", "strategy", "gpus", "sentence"),
    [
        (4, "ddp", 2, "launch.num_processes is 4, but there are 2 GPUs"),
        (2, "fsdp", 0, "needs GPUs"),
        (2, "deepspeed3", 2, "needs deepspeed, which is not installed; run `make deepspeed`"),
    ],
)
def test_what_the_machine_has_not(count, strategy, gpus, sentence, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(StageError, match=sentence):
        check_devices({"num_processes": count, "strategy": strategy}, gpus)


def test_several_nodes_are_started_by_slurm_and_meet_at_the_first(monkeypatch):
    launch = {"num_processes": 8, "num_nodes": 2, "strategy": "fsdp"}
    monkeypatch.setattr("socket.gethostname", lambda: "node1")
    command = launch_command(launch, ["train.py", "--spec", "{}"], "bfloat16", 2)
    assert command[:2] == ["srun", "--ntasks=2"]
    assert '--machine_rank="$SLURM_PROCID"' in command[command.index("-c") + 1]
    for option in ("--num_processes=8", "--num_machines=2", "--main_process_ip=node1"):
        assert option in command
    assert command[-3:] == ["train.py", "--spec", "{}"]
    single = launch_command({**launch, "num_nodes": 1}, [], "float32", 1)
    assert "srun" not in single and "--num_machines=1" in single


def test_several_nodes_need_a_job_of_slurm(monkeypatch):
    launch = {"num_processes": 8, "num_nodes": 2, "strategy": "ddp"}
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(StageError, match="no job of Slurm"):
        check_devices(launch, 4)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/srun")
    check_devices(launch, 4)
    with pytest.raises(StageError, match="2 nodes with 2 GPUs each"):
        check_devices(launch, 2)


def test_two_processes_may_share_a_cpu():
    check_devices({"num_processes": 2, "strategy": "ddp"}, 0)


def test_the_log_stays_with_who_started():
    assert without_log(["--spec", "{}", "--log", "a.log", "--run", "x"]) == [
        "--spec",
        "{}",
        "--run",
        "x",
    ]
    assert without_log(["--spec", "{}"]) == ["--spec", "{}"]


def test_a_fault_in_a_process_is_told_in_its_own_words():
    code = "print('10:00 ERROR sftflow: the data is wrong'); raise SystemExit(3)"
    with pytest.raises(StageError, match=r"^the data is wrong$"):
        run_launched([sys.executable, "-c", code], on_cpu=True)
    with pytest.raises(StageError, match="status 3"):
        run_launched([sys.executable, "-c", "raise SystemExit(3)"], on_cpu=True)
    code = "print('server socket failed, name: EADDRINUSE'); raise SystemExit(1)"
    with pytest.raises(StageError, match="the port at which the processes were to meet was taken"):
        run_launched([sys.executable, "-c", code], on_cpu=True)
    code = "print('ERROR failed (exitcode: -9) local_rank: 1 (pid: 7)'); raise SystemExit(1)"
    with pytest.raises(StageError, match="a training process was ended by SIGKILL: by somebody"):
        run_launched([sys.executable, "-c", code], on_cpu=True)
    run_launched([sys.executable, "-c", "pass"], on_cpu=True)
