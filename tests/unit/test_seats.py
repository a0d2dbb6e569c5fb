import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sftflow.endpoint import Endpoint, write_endpoint
from sftflow.lockholders import lock_holders
from sftflow.seats import seat, seats_file

SCRIPTS = Path(__file__).parents[2] / "scripts"
USER = """
import sys, time
from pathlib import Path
from sftflow.lockholders import lock_holders
from sftflow.seats import seat
with seat(Path(sys.argv[1])) as taken:
    print(taken, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "server.json"


def serve(path, **settings):
    known = {"model": "toy", "host": "h", "port": 1, "api_key": "k", "boot_id": "b", "pid": 1}
    more = {"pid_start": None, "log": "log", "start_timeout_s": 1.0, "settings": settings}
    write_endpoint(path, Endpoint(**known, **more))


def user(path):
    """Start another process that sits down, and return it with the place that it got."""
    command = [sys.executable, "-c", USER, str(path)]
    environment = {"PYTHONPATH": str(SCRIPTS)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def test_who_finds_no_seat_waits_until_one_is_free(path):
    """Locks are between processes, and a killed one gives its seat back."""
    serve(path, lora={"max_loras": 2})
    others = [user(path) for _ in range(2)]
    try:
        assert [place for _, place in others] == [0, 1]
        third = subprocess.Popen(
            [sys.executable, "-c", USER, str(path)],
            env={"PYTHONPATH": str(SCRIPTS)},
            stdout=subprocess.PIPE,
            text=True,
        )
        others.append((third, None))
        time.sleep(1.5)
        assert third.poll() is None
        with seats_file(path).open() as file:
            assert lock_holders(file.fileno()) == sorted(one.pid for one, _ in others[:2])
        others[1][0].kill()
        assert third.stdout.readline() == "1\n"
    finally:
        for process, _ in others:
            process.kill()
            process.communicate()


def test_a_server_of_one_model_has_no_seats(path):
    serve(path)
    with seat(path) as taken:
        assert taken is None
    assert not seats_file(path).exists()


def test_the_key_is_not_in_the_file_of_seats(path):
    serve(path, lora={"max_loras": 1})
    with seat(path) as taken:
        assert taken == 0
    assert seats_file(path).read_bytes() == b""
    assert json.loads(path.read_text())["api_key"] == "k"
