"""Killed, or without disk, at each moment at which a stage changes a file.

Whatever the moment: what has its final name is whole, and running again gives the same bytes.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys

import pytest
from ingest_fixture import ingest, lines
from test_mix_dataset import run as mix_rows
from test_mix_dataset import share
from test_split_dataset import families, split

import clean_dataset
from sftflow.configschema import fill_defaults, schema
from sftflow.manifests import sha256_file
from sftflow.records import RECORD, write_table

BROKEN, FULL = 250, 251  # exit statuses of a child
OPENED = os.O_WRONLY | os.O_RDWR | os.O_CREAT
ROWS = [{"instruction": f"Say {i}.", "output": f"It is {i}." if i % 5 else ""} for i in range(10)]


def clean(folder):
    if not (folder / "source").exists():
        write_table(folder / "source/records.parquet", families(12), RECORD)
    steps = [{"step": "exact_duplicates"}, {"step": "near_duplicates"}]
    filled = [fill_defaults(step, schema()["$defs"]["step"]) for step in steps]
    spec = {"dataset": "d", "sources": ["source"], "clean": filled, "max_rejected_fraction": 1}
    argv = ["--spec", json.dumps(spec), "--sources", str(folder / "source")]
    for name in ("records", "rejected"):
        argv += [f"--{name}", str(folder / f"out/{name}.parquet")]
    clean_dataset.main([*argv, "--manifest", str(folder / "out/manifest.json")])


def mix(folder):
    if not (folder / "train.parquet").exists():
        rows = [{**row, "source": "mine"} for row in families(12)]
        for name in ("train", "validation"):
            write_table(folder / f"{name}.parquet", rows, RECORD)
    mix_rows(folder, {"mine": share(times=2.5)}, name="out")


STAGES = {
    "ingest_source": lambda folder: ingest(folder, lines(*ROWS)),
    "clean_dataset": clean,
    "split_dataset": lambda folder: split(folder / "out", families(12)),
    "mix_dataset": mix,
}


def kill(_event):
    os.kill(os.getpid(), signal.SIGKILL)


def fill(event):
    if event in ("open", "os.mkdir"):
        raise OSError(errno.ENOSPC, "No space left on device")


def changed(event, arguments):
    """Return the file that an event of Python's own changes, None for any other event."""
    if event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
        return arguments[0]
    return arguments[0] if event == "open" and arguments[2] & OPENED else None


def run_until(moment, act, run, folder):
    """Run in a child process that acts at its n-th change in a folder; say how that ended.

    The number of changes if it came to its end, -9 if it was killed.
    """
    child = os.fork()
    if child == 0:
        counted = 0

        def watch(event, arguments):
            nonlocal counted
            path = changed(event, arguments)
            if path is None or not str(path).startswith(str(folder)):
                return
            counted += 1
            if counted == moment:
                act(event)

        sys.addaudithook(watch)
        try:
            run()
        except OSError as error:
            os._exit(FULL if error.errno == errno.ENOSPC else BROKEN)
        except BaseException:
            os._exit(BROKEN)
        os._exit(counted)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def whole(folder):
    """Return digest by name of all files that have their final name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    final = [path for path in files if not path.relative_to(folder).name.startswith(".")]
    return {str(path.relative_to(folder)): sha256_file(path) for path in final}


@pytest.mark.parametrize(("act", "endings"), [(kill, {-9}), (fill, {FULL})])
@pytest.mark.parametrize("stage", STAGES)
def test_no_moment_leaves_anything_half_written(stage, act, endings, tmp_path):
    results = tmp_path / "out"
    results.mkdir()

    def run():
        STAGES[stage](tmp_path)

    moments = run_until(0, act, run, results)
    good = whole(results)
    assert 8 < moments < BROKEN and "manifest.json" in good
    seen = set()
    for moment in range(1, moments + 1):
        shutil.rmtree(results)
        results.mkdir()
        ending = run_until(moment, act, run, results)
        seen.add(ending)
        left = whole(results)
        assert left.items() <= good.items(), f"moment {moment}"
        assert ending in endings or (ending < BROKEN and left == good), f"moment {moment}"
        if act is fill:
            assert list(results.rglob("*.part")) == [], f"moment {moment}"
        run()
        assert whole(results) == good, f"moment {moment}"
    assert endings <= seen
