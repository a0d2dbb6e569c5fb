"""What a sweep of N runs takes besides its trainings: `python bench/sweep.py --runs 200`.

The small project of tests/staleness is trained once for real. In its copy of the repository a
stand-in then takes the place of scripts/train_adapter.py alone: it leaves a copy of that training.
All else is real: planning, the jobs of data, base and tokens, a job for each run, the digests and
records of what each leaves, summary and report. The runs are not measured (`measure: false`): a
server for each takes what it takes for one, N times.

Printed: seconds, processor seconds and peak memory of Snakemake itself, jobs per second, sizes.
"""

from __future__ import annotations

import argparse
import json
import re
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

STAND_IN = """\
import argparse, json, shutil
from pathlib import Path
parser = argparse.ArgumentParser()
parser.add_argument("--spec", type=json.loads)
for name in ("adapter", "history", "samples", "manifest"):
    parser.add_argument(f"--{name}", type=Path)
args = parser.parse_known_args()[0]
done = Path("trained")
args.manifest.parent.mkdir(parents=True, exist_ok=True)
shutil.copytree(done / "adapter", args.adapter, dirs_exist_ok=True)
shutil.copytree(done / "samples", args.samples, dirs_exist_ok=True)
shutil.copyfile(done / "history.csv", args.history)
shutil.copyfile(done / "SHA256SUMS", args.manifest.with_name("SHA256SUMS"))
said = json.loads((done / "manifest.json").read_text())
said["settings"] = args.spec
args.manifest.write_text(json.dumps(said))
"""


def timed(project: Project, *arguments: str) -> tuple[float, float, float, str]:
    """Run Snakemake; return seconds, processor seconds and peak MB of itself, and what it said.

    Its jobs, which are processes of their own, are in the first figure only.
    """
    command = [Path(sys.executable).parent / "snakemake", *arguments]
    own = memory = 0.0
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        child = psutil.Popen(command, cwd=project.folder, stdout=said, stderr=said)
        while child.poll() is None:
            with suppress(psutil.Error):  # it ended just now
                times, used = child.cpu_times(), child.memory_info()
                own, memory = times.user + times.system, max(memory, used.rss / 2**20)
            time.sleep(0.1)
        seconds = time.monotonic() - start
        said.seek(0)
        text = said.read()
    if child.returncode:
        raise SystemExit(text[-4000:])
    return seconds, own, memory, text


def trained(folder: Path) -> Project:
    """Return the small project with one training, a copy of it, and the stand-in."""
    project = Project(folder)
    project.config["runs"]["s"] |= {"sweep": {"lora.r": [2]}, "measure": False, "suites": []}
    del project.config["gates"]
    project.write_config()
    project.run("models")
    shutil.copytree(folder / "results/runs/s.r-2", folder / "trained")
    (folder / "scripts/train_adapter.py").write_text(STAND_IN)
    return project


def main() -> None:
    """Run the sweep, then look at it again with nothing to do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as temporary:
        project = trained(Path(temporary, "project"))
        rates = [round(1e-5 * (i + 1), 6) for i in range(args.runs)]
        project.config["runs"]["s"]["sweep"] = {"training.learning_rate": rates}
        project.write_config()
        for what in ("the sweep", "nothing to do"):
            seconds, own, memory, said = timed(project, "--cores", "all")
            jobs = len(re.findall(r"^(?:local)?rule \w+:$", said, flags=re.MULTILINE))
            sys.stdout.write(
                f"{what}, {args.runs} runs: {jobs} jobs in {seconds:.1f} s "
                f"({own:.1f} processor s and {memory:.0f} MB of Snakemake itself)\n"
            )
        results = project.folder / "results"
        page = (results / "report.html").stat().st_size / 2**20
        files = [path for path in results.rglob("*") if path.is_file()]
        rows = sum(1 for _ in (results / "summary.csv").open()) - 1
        sys.stdout.write(
            f"report.html {page:.1f} MB, summary.csv {rows} rows, results/ {len(files)} files\n"
        )
        manifests = [json.loads(p.read_text()) for p in results.glob("runs/*/manifest.json")]
        assert len({m["settings"]["training"]["learning_rate"] for m in manifests}) >= args.runs


if __name__ == "__main__":
    main()
