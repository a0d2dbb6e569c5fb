import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from served import Supervisor, until

from sftflow import servercounts, serving
from sftflow.endpoint import Endpoint, process_start, write_endpoint
from sftflow.serving import check_lives, compare_ids, reserved, served, wait_until_serving
from sftflow.stage import StageError


class LengthTokenizer:
    """One token per message, as the stand-in for vLLM has it."""

    chat_template = "any"
    shift = 0

    def apply_chat_template(self, messages, **_):
        return {"input_ids": [len(m["content"]) + self.shift for m in messages]}


@pytest.fixture
def tokenizer(monkeypatch):
    one = LengthTokenizer()
    monkeypatch.setattr(serving, "talking_tokenizer", lambda _: one)
    monkeypatch.setattr(serving, "STALE_S", 0.3)
    monkeypatch.setattr(serving, "NOTICE_S", 1.5)
    return one


@pytest.fixture
def supervisor(tmp_path):
    one = Supervisor(tmp_path)
    yield one
    one.stop()


def test_a_user_waits_until_the_server_is_up(supervisor, tokenizer):
    until(supervisor.read)
    with served(supervisor.path, Path("m")) as server:
        assert server.model == "toy" and server.max_model_len == 64
        assert server.endpoint.start_s > 0
        assert server.url == f"http://127.0.0.1:{server.endpoint.port}/v1"
        assert server.prompt_ids([{"role": "user", "content": "abc"}]) == [3]


def test_an_adapter_is_asked_by_its_own_name(tmp_path, tokenizer):
    lora = {"max_loras": 2, "max_lora_rank": 8}
    one = Supervisor(tmp_path, lora=lora, adapters=["r8+adapter=results/runs/r8/adapter"])
    try:
        assert one.reach("serving")["settings"]["lora"] == lora
        with served(one.path, Path("m"), "r8+adapter") as server:
            assert server.model == "r8+adapter" and server.endpoint.model == "toy"
            assert server.max_model_len == 64
        with pytest.raises(StageError, match=r"404.*The model r4\+adapter does not exist"):
            with served(one.path, Path("m"), "r4+adapter"):
                raise AssertionError("not ready")
    finally:
        one.stop()


def test_other_prompt_tokens_are_an_error(supervisor, tokenizer):
    tokenizer.shift = 1
    supervisor.reach("serving")
    with pytest.raises(StageError, match="different from token 0 on"):
        with served(supervisor.path, Path("m")):
            raise AssertionError("not ready")


def test_a_server_killed_in_use_fails_its_user(supervisor, tokenizer):
    supervisor.reach("serving")
    with pytest.raises(StageError, match="SIGKILL"):
        with served(supervisor.path, Path("m")) as server:
            os.kill(server.endpoint.server_pid, signal.SIGKILL)
            raise ConnectionError("seen first")


def test_a_server_killed_unnoticed_fails_its_user_at_the_end(supervisor, tokenizer):
    supervisor.reach("serving")
    with pytest.raises(StageError, match="SIGKILL"):
        with served(supervisor.path, Path("m")) as server:
            os.kill(server.endpoint.server_pid, signal.SIGKILL)
            supervisor.process.wait(10)


def test_a_supervisor_killed_in_use_fails_its_user(supervisor, tokenizer):
    supervisor.reach("serving")
    with pytest.raises(StageError, match="supervisor is gone"):
        with served(supervisor.path, Path("m")):
            supervisor.process.kill()
            supervisor.process.wait(10)


def test_an_own_fault_of_the_user_stays_what_it_is(supervisor, tokenizer, monkeypatch):
    monkeypatch.setattr(serving, "NOTICE_S", 0.1)
    supervisor.reach("serving")
    with pytest.raises(ZeroDivisionError), served(supervisor.path, Path("m")):
        raise ZeroDivisionError


def test_a_server_that_died_is_told_at_once_with_its_log(tmp_path, tokenizer):
    one = Supervisor(tmp_path, "exit")
    one.process.wait(15)
    with pytest.raises(StageError, match=r"exit status 3(.|\n)*\| fake engine up"):
        with served(one.path, Path("m")):
            raise AssertionError("not ready")


def endpoint(tmp_path, **more):
    known = {
        "model": "toy",
        "host": "127.0.0.1",
        "port": 1,
        "api_key": "k",
        "boot_id": "b",
        "pid": os.getpid(),
        "pid_start": process_start(os.getpid()),
        "log": str(tmp_path / "log"),
        "start_timeout_s": 5,
        "state": "serving",
    }
    return Endpoint(**{**known, **more})


def test_the_file_of_an_earlier_run_is_not_taken_for_a_server(tmp_path, tokenizer):
    path = tmp_path / "server.json"
    write_endpoint(path, endpoint(tmp_path, pid_start=1))  # this pid, but another process
    with pytest.raises(StageError, match="supervisor is gone"):
        wait_until_serving(path)


def test_the_file_of_an_earlier_run_may_be_replaced_meanwhile(tmp_path, monkeypatch):
    path = tmp_path / "server.json"
    write_endpoint(path, endpoint(tmp_path, pid_start=1))
    threading.Timer(0.5, write_endpoint, (path, endpoint(tmp_path, boot_id="new"))).start()
    assert wait_until_serving(path).boot_id == "new"


def test_waiting_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "START_SLACK_S", 0.2)
    path = tmp_path / "server.json"
    write_endpoint(path, endpoint(tmp_path, state="loading", start_timeout_s=0.2))
    with pytest.raises(StageError, match="still loading"):
        wait_until_serving(path)


def test_another_start_is_another_server(tmp_path):
    path = tmp_path / "server.json"
    first = endpoint(tmp_path)
    write_endpoint(path, first)
    check_lives(path, first)
    write_endpoint(path, replace(first, boot_id="other"))
    with pytest.raises(StageError, match="restarted"):
        check_lives(path, first)
    path.unlink()
    with pytest.raises(StageError, match="stopped"):
        check_lives(path, first)


HOLDER = """
import sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from sftflow.endpoint import read_endpoint
from sftflow.serving import reserved
path = Path({file!r})
with reserved(path, read_endpoint(path), {exclusive}):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(path, exclusive):
    code = HOLDER.format(path=[p for p in sys.path if p], file=str(path), exclusive=exclusive)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process


def held_by(process):
    assert process.stdout.readline() == "held\n"


@pytest.mark.parametrize(
    ("mine", "other", "waits"), [(False, False, False), (False, True, True), (True, False, True)]
)
def test_only_an_exclusive_user_is_alone(tmp_path, mine, other, waits):
    path = tmp_path / "server.json"
    write_endpoint(path, endpoint(tmp_path))
    process = holder(path, other)
    held_by(process)
    released = threading.Event()

    def release():
        released.set()
        process.stdin.write("\n")
        process.stdin.flush()

    timer = threading.Timer(0.5 if waits else 60, release)
    timer.start()
    with reserved(path, endpoint(tmp_path), mine):
        assert released.is_set() == waits
    if not waits:
        timer.cancel()
        release()
    timer.join()
    process.wait(5)


def test_who_waits_is_told_for_whom_and_what_to_do_if_that_one_is_stopped(tmp_path, monkeypatch):
    path, said = tmp_path / "server.json", []
    write_endpoint(path, endpoint(tmp_path))
    process = holder(path, True)
    held_by(process)
    process.send_signal(signal.SIGSTOP)

    def let_go(line):
        said.append(line)
        process.kill()

    monkeypatch.setattr(serving, "SAY_EVERY_S", 0)
    monkeypatch.setattr(serving, "console", lambda: SimpleNamespace(say=let_go))
    with reserved(path, endpoint(tmp_path), True):
        assert f"in use by pid {process.pid}, which is stopped (kill -CONT" in said[0]
    process.wait()


def test_a_server_that_does_not_answer_is_told_with_its_log(tmp_path):
    (tmp_path / "log").write_text("the engine is gone\n")
    for request in (lambda one: serving._answer(one, "/v1/models"), servercounts.counters):
        with pytest.raises(StageError, match=r"vLLM did not (.|\n)*(the engine is gone|see .*log)"):
            request(endpoint(tmp_path))  # nobody listens on port 1


def test_a_killed_user_holds_nothing(tmp_path):
    path = tmp_path / "server.json"
    write_endpoint(path, endpoint(tmp_path))
    process = holder(path, True)
    held_by(process)
    process.kill()
    process.wait()
    with reserved(path, endpoint(tmp_path), True):
        pass


def test_who_waits_for_a_server_that_goes_away_is_told(tmp_path):
    path = tmp_path / "server.json"
    write_endpoint(path, endpoint(tmp_path))
    process = holder(path, True)
    held_by(process)
    threading.Timer(0.3, path.unlink).start()
    with pytest.raises(StageError, match="stopped"), reserved(path, endpoint(tmp_path), False):
        raise AssertionError("held")
    process.kill()
    process.wait()


def test_compare_ids_names_the_first_difference():
    compare_ids([1, 2, 3], [1, 2, 3], "x")
    with pytest.raises(StageError, match=r"3 and 4 tokens, different from token 2 on \(\[9\]"):
        compare_ids([1, 2, 9], [1, 2, 3, 4], "x")
    with pytest.raises(StageError, match="0 and 1 tokens"):
        compare_ids(None, [1], "x")
