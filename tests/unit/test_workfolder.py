import signal
import subprocess
import sys
from pathlib import Path

from sftflow.workfolder import hold_folder

SCRIPTS = Path(__file__).parents[2] / "scripts"
HOLD = (
    f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
    "from sftflow.workfolder import hold_folder\n"
    "import subprocess\n"
    "assert hold_folder(sys.argv[1]) is None\n"
    "child = subprocess.Popen(['sleep', '60'])\n"
    "print(child.pid, flush=True)\n"
    "child.wait()\n"
)


def test_a_second_holder_is_told_the_first_and_a_killed_one_leaves_nothing(tmp_path):
    lock = tmp_path / "results/.lock"
    first = subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE, text=True)
    child = int(first.stdout.readline())
    try:
        assert f"pid {first.pid} on " in hold_folder(lock)
        first.send_signal(signal.SIGKILL)
        first.wait()
        # The child lives on, and does not hold the folder.
        assert hold_folder(lock) is None
    finally:
        subprocess.run(["kill", str(child)], check=True)


def test_one_who_is_about_to_end_is_waited_for(tmp_path):
    short = HOLD.replace("'sleep', '60'", "'sleep', '1'")
    first = subprocess.Popen([sys.executable, "-c", short, tmp_path / "l"], stdout=subprocess.PIPE)
    first.stdout.readline()
    assert hold_folder(tmp_path / "l") is not None
    assert hold_folder(tmp_path / "l", wait_s=30) is None
    first.wait()
