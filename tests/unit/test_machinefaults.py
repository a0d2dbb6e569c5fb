"""A full disk, a folder that can only be read, no memory: a sentence, nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from ingest_fixture import DEFAULTS

from sftflow import oomkills
from sftflow.joblogs import cut_off
from sftflow.machinefaults import machine_fault

SCRIPTS = Path(__file__).parents[2] / "scripts"
ROW = {"instruction": "Say it.", "output": "It is said, at some length. " * 40}


def spec(raw):
    return {**DEFAULTS, "path": str(raw)}


@pytest.fixture
def raw(tmp_path):
    """Return a raw file of 4 MB that compression does not make small."""
    path = tmp_path / "raw.jsonl"
    rows = [{**ROW, "instruction": os.urandom(500).hex()} for _ in range(2000)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def ingest(raw, out, log, before=(), **options):
    """Run the stage that reads a source, as the rule does; ``before`` begins the command."""
    command = [
        *before,
        sys.executable,
        SCRIPTS / "ingest_source.py",
        "--spec",
        json.dumps(spec(raw)),
    ]
    for key in ("records", "rejected"):
        command += [f"--{key}", out / f"{key}.parquet"]
    command += ["--manifest", out / "manifest.json", "--log", log]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def left(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_that_may_not_grow(raw, tmp_path):
    """A limit on the size of files stands for a full disk where nothing can be mounted."""
    out = tmp_path / "out"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, 1 << 19))

    done = ingest(raw, out, tmp_path / "log.txt", preexec_fn=limit)
    assert done.returncode != 0
    assert "[ingest_source] error: " in done.stderr
    assert "larger than allowed here (ulimit -f)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert left(out) == []
    assert "Traceback" in (tmp_path / "log.txt").read_text()
    assert ingest(raw, out, tmp_path / "log.txt").returncode == 0


# The command that follows sees ``disk`` as a disk of 1 MB; then all files on it are listed.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=1m tmpfs "$0" && mount -o "remount,$1" "$0" || exit 99
shift; "$@"; status=$?
find "$0" -type f; exit $status
"""


def on_a_small_disk(disk, mode):
    """Return the beginning of a command in a mount namespace of its own."""
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", "--mount", *own, "sh", "-c", ON_A_SMALL_DISK, disk, mode]


@pytest.mark.parametrize(
    ("mode", "words"), [("rw", "the disk is full"), ("ro", "the folder can only be read")]
)
def test_a_disk_that_takes_nothing_more(raw, tmp_path, mode, words):
    disk = tmp_path / "disk"
    disk.mkdir()
    done = ingest(raw, disk / "out", tmp_path / "log.txt", before=on_a_small_disk(disk, mode))
    if done.returncode in (1, 99) and "[ingest_source]" not in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


LIBRARIES = """
import sqlite3, sys
from pathlib import Path
import numpy, pyarrow, pyarrow.parquet, safetensors.numpy
from sftflow.machinefaults import machine_fault
noise = numpy.random.default_rng(0).integers(0, 256, 4 << 20, dtype="uint8")

def to_database(path):
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE t (x)")
        file.execute("INSERT INTO t VALUES (?)", [noise.tobytes()])

for write in (
    lambda path: path.write_bytes(noise.tobytes()),
    lambda path: pyarrow.parquet.write_table(pyarrow.table({"x": noise}), path),
    lambda path: safetensors.numpy.save_file({"x": noise}, path),
    to_database,
):
    path = Path(sys.argv[1], "file")
    try:
        write(path)
    except Exception as error:
        print(machine_fault(error) or repr(error))
    path.unlink(missing_ok=True)
"""


def test_each_library_says_in_its_own_way_that_the_disk_is_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [*on_a_small_disk(disk, "rw"), sys.executable, "-c", LIBRARIES, disk]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode == 99:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    said = [line for line in done.stdout.splitlines() if not line.startswith(str(disk))]
    assert len(said) == 4, done.stdout + done.stderr
    assert all("the disk is full" in line for line in said), said


class LibraryError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y: the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), "/x: the folder can only be read"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: there is no permission"),
        (LibraryError("Error: I/O error: No space left on device (os error 28)"), "disk is full"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            "the GPU's memory is full",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), "no memory"),
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos"),
            "disk is full",
        ),
        (MemoryError(), "no memory is left"),
    ],
)
def test_what_a_machine_refuses_is_a_sentence(error, words):
    said = machine_fault(error)
    assert words in said
    assert "\n" not in said
    try:
        try:
            raise error
        except Exception as cause:
            raise ValueError("saving failed") from cause
    except ValueError as wrapped:
        assert words in machine_fault(wrapped)


@pytest.mark.parametrize(
    "error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "no"), KeyError("memory")]
)
def test_other_errors_are_nobodys_fault_but_ours(error):
    assert machine_fault(error) is None


def test_a_log_that_ends_without_a_word(tmp_path):
    log = tmp_path / "log.txt"
    began = "2026-01-01 00:00:00,000 INFO sftflow: argv: --spec {}\n"
    for text, said in [
        (began, "was killed"),
        (began + "step 3 of 9\n" * 20_000, "was killed"),
        (began + "terminate called after throwing an instance of 'std::bad_alloc'\n", "ulimit -v"),
        (began + "2026-01-01 00:00:00,000 ERROR sftflow: rows.jsonl is empty\n", ""),
        (began + "Traceback (most recent call last)\n", ""),
        ("no stage of ours\n", ""),
        ("", ""),
    ]:
        log.write_text(text)
        told = cut_off([str(log)]) or ""
        assert said in told and bool(said) == bool(told) == (str(log) in told)
    assert cut_off([str(tmp_path / "none")]) is None


def test_a_kill_for_lack_of_memory_is_told_as_that(tmp_path, monkeypatch):
    log, kernel = tmp_path / "log", tmp_path / "vmstat"
    log.write_text("2026-01-01 00:00:00,000 INFO sftflow: argv: --spec {}\n1 of 9 steps\n")
    monkeypatch.setattr(oomkills, "VMSTAT", kernel)
    kernel.write_text("oom_kill 3\n")
    monkeypatch.setattr(oomkills, "oom_kills_before", oomkills.oom_kills)
    assert "somebody" in cut_off([str(log)])
    monkeypatch.setattr(oomkills, "oom_kills_before", lambda: 2)
    assert "the kernel has killed for lack of memory" in cut_off([str(log)])
    kernel.unlink()
    assert "somebody" in cut_off([str(log)])
