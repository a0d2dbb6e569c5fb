"""How long Snakemake takes to find out that there is nothing to do: `python bench/planning.py`.

Two finished projects: the embedded default, and a sweep of N runs. The stages are not run: their
outputs are written as small files and vouched for by `--touch`, since only the planning is
measured. Beside each figure stands the time of `snakemake -n` on a one-rule workflow, run in
turn with it, as the machine's own measure; and where the time goes, by cProfile.
"""

from __future__ import annotations

import argparse
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / "tests"))

from staleness.touched import SNAKEMAKE, finished  # noqa: E402

EMPTY = 'rule all:\n    output: "a.txt"\n    shell: "echo > {output}"\n'


def seconds(arguments: list[str], folder: Path) -> float:
    """Return the wall time of a `snakemake` call that must succeed (s)."""
    start = time.monotonic()
    done = subprocess.run(
        [*SNAKEMAKE, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.monotonic() - start


def sweep(runs: int, path: Path) -> Path:
    """Write a config with a sweep of that many runs over the learning rate."""
    config = yaml.safe_load((REPO / "config/config.yaml").read_text(encoding="utf-8"))
    rates = [round(1e-4 * (i + 1), 6) for i in range(runs)]
    config["runs"]["tickets-lora"]["sweep"] = {"training.learning_rate": rates}
    for source in config["sources"].values():
        source["path"] = str(REPO / source["path"])
    config["texts"] = {name: str(REPO / text) for name, text in config["texts"].items()}
    config["generation"]["prompts"] = str(REPO / config["generation"]["prompts"])
    config["suites"]["tickets"]["folder"] = str(REPO / "config/tasks")
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def profiled(options: list[str]) -> list[str]:
    """Return where the time of one dry run goes: cumulative seconds of the largest parts."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "profile")
        command = [sys.executable, "-m", "cProfile", "-o", str(out), "-m", "snakemake", "-n"]
        subprocess.run([*command, *options], cwd=REPO, capture_output=True, check=True)
        stats = pstats.Stats(str(out)).stats
    parts = {
        "reading the Snakefile, config and code": ("workflow.py", "include"),
        "building the graph": ("dag.py", "init"),
        "judging the jobs (in it)": ("cutoff.py", "plan"),
        "digests of code (in reading)": ("codegraph.py", "code_digest"),
        "checking the config (in reading)": ("config.py", "load_config"),
    }
    said = []
    for label, (file, function) in parts.items():
        found = [s[3] for (f, _, n), s in stats.items() if f.endswith(file) and n == function]
        said.append(f"{label}: {max(found, default=0):.1f} s")
    return said


def measure(label: str, config: Path, work: Path, empty: Path, repeats: int) -> None:
    """Print the median of a dry run with nothing to do, and its ratio to an empty workflow's."""
    finished(REPO, config, work)
    options = ["--configfile", str(config), "--directory", str(work)]
    pairs = [(seconds(["-n", *options], REPO), seconds(["-n"], empty)) for _ in range(repeats)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    sys.stdout.write(
        f"{label}: {ours:.2f} s (one-rule workflow beside it: {theirs:.2f} s, "
        f"ratio {ours / theirs:.1f})\n"
    )
    for line in profiled(options):
        sys.stdout.write(f"    {line}\n")


def main() -> None:
    """Measure the default and the sweeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="*", default=[50, 100, 200])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    os.environ.pop("SFTFLOW_PLAN", None)
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "empty")
        empty.mkdir()
        (empty / "Snakefile").write_text(EMPTY, encoding="utf-8")
        seconds(["--cores", "1"], empty)
        default = REPO / "config/config.yaml"
        measure("default", default, Path(folder, "default"), empty, args.repeats)
        for runs in args.runs:
            config = sweep(runs, Path(folder, f"sweep{runs}.yaml"))
            work = Path(folder, f"sweep{runs}")
            measure(f"sweep of {runs} runs", config, work, empty, args.repeats)


if __name__ == "__main__":
    main()
