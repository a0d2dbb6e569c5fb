import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from served import Supervisor, until

import serve_model
from sftflow import guardian
from sftflow.endpoint import cause, last_lines, process_start, read_endpoint
from sftflow.engine import engine_command, engine_environment
from sftflow.manifests import write_manifest
from sftflow.scratch import ScratchFolder
from sftflow.stage import StageError


@pytest.fixture
def supervise(tmp_path):
    started = []

    def start(*args, **more):
        started.append(Supervisor(tmp_path, *args, **more))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def guardians(pid):
    """The guardians of a supervisor: Python processes in sessions of their own."""
    children = psutil.Process(pid).children()
    return [c.pid for c in children if any("guardian.py" in part for part in c.cmdline())]


def private_folder(server):
    line = Path(f"/proc/{server['server_pid']}/environ").read_bytes().split(b"\0")
    return Path(next(v[7:] for v in line if v.startswith(b"TMPDIR=")).decode())


def serving(supervisor):
    server = supervisor.reach("serving")
    assert len(guardian.group_members(server["server_pid"])) == 2  # the server and its child
    return server


def assert_gone(server, folder):
    until(lambda: not guardian.group_members(server["server_pid"]))
    until(lambda: not folder.exists())


def test_the_endpoint_is_there_at_once_and_nobody_else_may_read_it(supervise):
    supervisor = supervise("never")
    server = until(supervisor.read, 5)
    assert server["state"] in ("starting", "loading")
    assert server["pid"] == supervisor.process.pid
    assert server["pid_start"] == process_start(server["pid"])
    assert stat.S_IMODE(supervisor.path.stat().st_mode) == 0o600
    server = supervisor.reach("loading")
    said = Path(f"/proc/{server['server_pid']}/cmdline").read_bytes() + supervisor.log.read_bytes()
    assert server["api_key"].encode() not in said
    assert server["api_key"] not in repr(read_endpoint(supervisor.path))


def test_sigterm_ends_the_group_and_is_no_error(supervise):
    supervisor = supervise()
    server = serving(supervisor)
    folder = private_folder(server)
    supervisor.process.terminate()
    assert supervisor.process.wait(15) == 0
    assert_gone(server, folder)
    assert not supervisor.path.exists()


def test_kill_9_of_the_supervisor_leaves_nothing(supervise):
    supervisor = supervise()
    server = serving(supervisor)
    folder = private_folder(server)
    (guard,) = guardians(server["pid"])
    supervisor.process.kill()
    assert_gone(server, folder)
    until(lambda: process_start(guard) is None)


def test_kill_9_of_supervisor_and_guardian_leaves_nothing_running(supervise):
    supervisor = supervise()
    server = serving(supervisor)
    folder = private_folder(server)
    (guard,) = guardians(server["pid"])
    os.kill(guard, signal.SIGSTOP)  # so that it can't act between the two
    supervisor.process.kill()
    os.kill(guard, signal.SIGKILL)
    until(lambda: not guardian.group_members(server["server_pid"]))
    assert folder.exists()  # nobody was left to remove it
    ScratchFolder(folder.parent).close()
    assert not folder.exists()


def test_the_engine_does_not_outlive_the_api_server(supervise):
    supervisor = supervise()
    group = serving(supervisor)["server_pid"]
    (engine,) = set(guardian.group_members(group)) - {group}
    supervisor.process.send_signal(signal.SIGSTOP)  # so that it can't end the group
    os.kill(engine, signal.SIGSTOP)  # an engine that hangs heeds nothing else
    os.kill(group, signal.SIGKILL)
    try:
        until(lambda: process_start(engine) is None)
    finally:
        supervisor.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("shell", [False, True])
def test_kill_9_of_the_parent_leaves_nothing(tmp_path, shell):
    code = f"""
import sys, time; sys.path[:0] = {[str(Path(__file__).parent)]!r}
from pathlib import Path; from served import Supervisor
one = Supervisor(Path({str(tmp_path)!r}), shell={shell}); time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    watch = Supervisor.__new__(Supervisor)
    watch.path = tmp_path / "server.json"
    server = serving(watch)
    folder = private_folder(server)
    parent.kill()
    parent.wait()
    assert_gone(server, folder)
    until(lambda: process_start(server["pid"]) is None)


def test_a_server_that_ends_by_itself_is_an_error_whatever_its_status(supervise):
    supervisor = supervise("exit")
    assert supervisor.process.wait(15) == 1
    server = supervisor.read()
    assert (server["state"], server["returncode"]) == ("dead", 3)
    assert server["last_lines"] == ["fake engine up"]
    assert guardian.group_members(server["server_pid"]) == []  # its child was left, and ended


def test_an_engine_that_was_killed_for_lack_of_memory_is_told(monkeypatch, tmp_path):
    """vLLM's engine leaves no word in the log then, and its server ends with status 0 (seen)."""
    server = SimpleNamespace(returncode=lambda: 0)
    for killed in (True, False):
        monkeypatch.setattr(serve_model, "killed_meanwhile", lambda killed=killed: killed)
        with pytest.raises(serve_model.ServerDied) as died:
            serve_model.check_running(server, tmp_path / "log")
        assert ("for lack of memory" in str(died.value)) == killed


def test_a_killed_server_is_reported_with_its_signal(supervise):
    supervisor = supervise()
    server = serving(supervisor)
    os.kill(server["server_pid"], signal.SIGKILL)
    assert supervisor.process.wait(15) == 1
    assert supervisor.read()["returncode"] == -9
    assert "SIGKILL, perhaps out of memory" in supervisor.read()["reason"]


def test_a_server_that_never_gets_ready_is_given_up(supervise):
    supervisor = supervise("never", start_timeout_s=0.5)
    assert supervisor.process.wait(15) == 1
    assert "did not get ready in 0.5 s" in supervisor.read()["reason"]
    assert guardian.group_members(supervisor.read()["server_pid"]) == []


def test_no_model_is_served_whose_template_was_changed_since_it_was_made(supervise, tmp_path):
    """Who asks the server compares its tokens with the same folder's, and would see nothing."""
    files = [tmp_path / "chat_template.jinja", tmp_path / "model.safetensors"]
    for path in files:
        path.write_text("as it was made")
    write_manifest(tmp_path / "manifest.json", stage="merge_adapter", spec={}, payloads=files)
    files[1].write_text("weights are not read for this")
    assert supervise("never").reach("loading")
    files[0].write_text("{{ messages[-1].content }}")
    supervisor = supervise("never")
    assert supervisor.process.wait(15) == 1
    assert "chat_template.jinja has changed since it was made" in supervisor.read()["reason"]


def test_another_port_is_tried_if_the_first_was_snatched(supervise, tmp_path):
    server = serving(supervise("taken"))
    assert "Errno 98" in (tmp_path / "serve.vllm.2.log").read_text()
    assert server["state"] == "serving"


def test_a_killed_guardian_ends_the_server(supervise):
    supervisor = supervise()
    server = serving(supervisor)
    os.kill(guardians(server["pid"])[0], signal.SIGKILL)
    assert supervisor.process.wait(15) == 1
    assert guardian.group_members(server["server_pid"]) == []


def test_a_group_that_ignores_sigterm_is_killed_and_its_shared_memory_removed():
    code = """
import signal, time
from multiprocessing import shared_memory, resource_tracker
signal.signal(signal.SIGTERM, signal.SIG_IGN)
one = shared_memory.SharedMemory(create=True, size=64)
resource_tracker.unregister(one._name, "shared_memory")
print(one.name, flush=True)
time.sleep(600)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    name = process.stdout.readline().strip()
    assert Path("/dev/shm", name).exists()
    start_s = time.monotonic()
    assert guardian.end_group(process.pid, grace_s=0.3)
    assert 0.3 < time.monotonic() - start_s < 30  # not its 600 s
    assert process.wait(5) == -signal.SIGKILL
    assert not Path("/dev/shm", name).exists()


def test_a_stopped_group_ends_by_itself_all_the_same():
    code = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("up", flush=True)
signal.pause()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGSTOP)
    assert guardian.end_group(process.pid, grace_s=30)
    assert process.wait() == 7


def test_the_guardian_forgets_groups_that_ended_in_order():
    read, write = os.pipe()
    os.write(write, b"+11\n+12\n-11\n")
    os.close(write)
    assert guardian.groups_until_eof(read) == [12]


SPEC = {
    "model": "toy",
    "max_model_len": None,
    "dtype": "auto",
    "gpu_memory_utilization": 0.8,
    "tensor_parallel_size": 2,
}


def test_the_command_on_gpus():
    command = engine_command(SPEC, Path("/m"), "127.0.0.1", 1, cpu=False)
    said = " ".join(command)
    assert "--tensor-parallel-size 2 --gpu-memory-utilization 0.8" in said
    assert "--enforce-eager" not in command and "--max-model-len" not in command
    assert "--generation-config vllm --no-enable-prefix-caching" in said
    assert "--trust-remote-code" not in command
    assert "VLLM_CPU_KVCACHE_SPACE" not in engine_environment(SPEC, "k", Path("/t"), cpu=False)


def test_the_command_and_environment_on_a_cpu():
    spec = {**SPEC, "tensor_parallel_size": 1, "max_model_len": 9, "trust_remote_code": True}
    command = engine_command(spec, Path("/m"), "127.0.0.1", 1, cpu=True)
    assert {"--enforce-eager", "--trust-remote-code", "uni"} <= set(command)
    assert "secret" not in " ".join(command)
    environment = engine_environment(spec, "secret", Path("/t"), cpu=True)
    assert environment["VLLM_API_KEY"] == "secret"
    assert environment["VLLM_NO_USAGE_STATS"] == environment["HF_HUB_OFFLINE"] == "1"
    chosen = {**spec, "extra_args": ["--distributed-executor-backend", "mp"]}
    assert "uni" not in engine_command(chosen, Path("/m"), "127.0.0.1", 1, cpu=True)


@pytest.mark.parametrize(
    "option",
    [
        *("--host=0.0.0.0", "--api_key", "--trust-remote-code", "-tp"),
        *("--chat-template=other.jinja", "--default_chat_template_kwargs", "--tokenizer"),
        *("--hos", "--middl=evil.py", "--allowed_local", "--"),  # vLLM's parser completes these
        *("--tool-parser-plugin=evil.py", "--logits_processors", "--worker-ext"),  # run code
        *("--grpc-port", "--kv-events-config", "--otlp-traces-endpoint"),  # speak to others
    ],
)
def test_options_that_the_workflow_decides_are_refused(option):
    spec = {"model": "m", "dtype": "auto", "max_model_len": None, "extra_args": [option, "1"]}
    with pytest.raises(StageError, match=r"serve\.extra_args"):
        engine_command(spec, Path("/m"), "127.0.0.1", 1, cpu=True)


def test_options_that_begin_like_refused_ones_are_vllms_own():
    extra = ["--reasoning-parser", "qwen3", "--tokenizer-mode=auto", "--max-num-seqs", "8"]
    spec = {"model": "m", "dtype": "auto", "max_model_len": None, "extra_args": extra}
    assert engine_command(spec, Path("/m"), "127.0.0.1", 1, cpu=True)[-5:] == extra


def test_the_cause_of_a_death_is_found_above_the_noise_of_the_exit(tmp_path):
    (tmp_path / "log").write_text(
        "(EngineCore pid=1) ERROR 11-21 [core.py:1512] RuntimeError: head_dim=16\n"
        "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.\n"
        'nanobind: leaked 4 instances!\n - leaked type "X"\n - ... skipped remainder\n'
    )
    assert cause(tmp_path / "log") == "RuntimeError: head_dim=16"
    assert len(last_lines(tmp_path / "log")) == 2
    assert cause(tmp_path / "none") is None


def test_last_lines_hold_no_control_characters(tmp_path):
    (tmp_path / "log").write_bytes(b"a\n\x1b]0;title\x07b\n\n" + b"x" * 900 + b"\n")
    lines = last_lines(tmp_path / "log", 2)
    assert lines[0] == " ]0;title b" and len(lines[1]) == 400
    assert last_lines(tmp_path / "none") == []
