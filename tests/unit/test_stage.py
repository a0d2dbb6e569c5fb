import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def run(tmp_path, body):
    done, log = stage(tmp_path, body)
    return done, log.read_text()


def stage(tmp_path, body):
    script = tmp_path / "some_stage.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(SCRIPTS)!r})\n"
        "from sftflow.stage import *\n"
        f"def main(argv):\n    {body}\n"
        "run_stage(main)\n"
    )
    log = tmp_path / "log.txt"
    done = subprocess.run(
        [sys.executable, script, "--log", log], capture_output=True, text=True, check=False
    )
    return done, log


def test_a_stage_error_is_one_sentence_without_a_traceback(tmp_path):
    done, log = run(tmp_path, 'raise StageError("rows.jsonl:3: no answer")')
    assert done.returncode == 1
    assert done.stderr == "[some_stage] error: rows.jsonl:3: no answer\n"
    assert "Traceback" not in log


def test_a_sentence_can_not_steer_the_terminal(tmp_path):
    done, _ = run(tmp_path, r'raise StageError("a\x1b[2Jb\rc:\nlast lines")')
    assert done.stderr == "[some_stage] error: a\\x1b[2Jb\\rc:\nlast lines\n"


def test_a_bug_has_its_traceback_in_the_log_and_one_line_outside(tmp_path):
    done, log = run(tmp_path, "1 / 0")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" in log


def test_a_log_that_can_not_be_written_is_one_sentence(tmp_path):
    (tmp_path / "log.txt").mkdir()
    done, log = stage(tmp_path, "raise AssertionError")
    assert done.returncode == 1
    assert done.stderr.startswith("[some_stage] error: the log can't be written: ")
    assert str(log) in done.stderr and done.stderr.count("\n") == 1


def test_what_libraries_print_goes_to_the_log(tmp_path):
    done, log = run(tmp_path, 'print("noise"); sys.stderr.write("more noise\\n")')
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "noise" in log
    assert "more noise" in log


def test_progress_shows_its_last_line(tmp_path):
    done, log = run(tmp_path, 'p = Progress(3, "rows"); [p.add() for _ in range(3)]')
    assert "[some_stage] 3/3 rows" in done.stderr
    assert "ETA 0:00" in log
