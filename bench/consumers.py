"""What users of one server at the same time take: `python bench/consumers.py --consumers 8`.

The small project of tests/staleness is trained once for real. Then as many suites as there are
users, each a process of lm-eval of its own, are measured on its model: first one alone, then all at
once, each time from the start of Snakemake to the last result, the start of vLLM in it.

Printed for both: seconds, starts of vLLM, and the most memory at a moment (PSS: what processes
share counts in parts) of the server, of one user, and of all that belongs to the run.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / "tests"))
sys.path.insert(0, str(REPO / "scripts"))

from staleness.project import Project  # noqa: E402 (its place is known now)

MODEL = "s.r-2"
EVERY_S = 0.5


def trained(folder: Path, consumers: int) -> Project:
    """Return the small project with its model, and a suite for each user."""
    project = Project(folder)
    tasks = folder / "raw/tasks"
    suites = {}
    for i in range(consumers):
        (tasks / f"qa{i}.yaml").write_text((tasks / "qa.yaml").read_text().replace("qa", f"qa{i}"))
        suites[f"q{i}"] = {"folder": "raw/tasks", "tasks": [f"qa{i}"], "dataset": "d"}
    project.config["suites"] = suites
    project.config["runs"]["s"]["suites"] = list(suites)
    project.write_config()
    project.run("models")
    return project


def memory(parent: psutil.Process) -> dict[str, float]:
    """Return the GB that a process and all below it hold: server, largest user, all."""
    held = {"server": 0.0, "user": 0.0, "all": 0.0}
    for process in [parent, *parent.children(recursive=True)]:
        with suppress(psutil.Error):  # it ended just now
            size = process.memory_full_info().pss / 2**30
            said = " ".join([process.name(), *process.cmdline()])
            held["all"] += size
            if "vllmserver" in said or said.startswith("VLLM"):
                held["server"] += size
            elif "run_benchmark.py" in said:
                held["user"] = max(held["user"], size)
    return held


def measured(project: Project, consumers: int) -> tuple[float, dict[str, float], int]:
    """Measure so many suites at once; return seconds, the most GB, and starts of vLLM."""
    shutil.rmtree(project.folder / f"results/eval/{MODEL}", ignore_errors=True)
    wanted = [f"results/eval/{MODEL}/benchmark/q{i}.json" for i in range(consumers)]
    line = [str(Path(sys.executable).parent / "snakemake"), "--cores", str(consumers), *wanted]
    most: dict[str, float] = {}
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        child = psutil.Popen(line, cwd=project.folder, stdout=said, stderr=said)
        while child.poll() is None:
            for what, size in memory(child).items():
                most[what] = max(most.get(what, 0.0), size)
            time.sleep(EVERY_S)
        seconds = time.monotonic() - start
        said.seek(0)
        text = said.read()
    if child.returncode:
        raise SystemExit(text[-4000:])
    return seconds, most, text.count("rule serve_model:")


def main() -> None:
    """Measure one user, then all of them at once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--consumers", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-consumers-") as temporary:
        project = trained(Path(temporary, "project"), args.consumers)
        for count in (1, args.consumers):
            seconds, most, starts = measured(project, count)
            sys.stdout.write(
                f"{count} at once: {seconds:.1f} s, {starts} start of vLLM; at most "
                f"{most['server']:.2f} GB the server, {most['user']:.2f} GB a user, "
                f"{most['all']:.2f} GB all together\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
