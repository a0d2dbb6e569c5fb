"""A project that is finished without a stage having run: small files, vouched for by `--touch`.

Only for what is planned: no file says anything, so nothing below a stage can be cut off.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SNAKEMAKE = [str(Path(sys.executable).parent / "snakemake")]


def snakemake(repo: Path, *arguments: str) -> str:
    """Return what a call says that must succeed."""
    done = subprocess.run(
        [*SNAKEMAKE, *arguments], cwd=repo, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def finished(repo: Path, config: Path, work: Path) -> None:
    """Write every output that a config asks for, and let `--touch` record them as made."""
    options = ["--configfile", str(config), "--directory", str(work), "--cores", "1"]
    for line in snakemake(repo, "-n", *options).splitlines():
        if found := re.match(r"\s+output: (.*)", line):
            for path in found[1].split(", "):
                if not path.endswith(" (service)"):
                    _written(work / path)
    snakemake(repo, "--touch", *options)


def _written(place: Path) -> None:
    if place.suffix or place.name == "SHA256SUMS":
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("{}" if place.suffix == ".json" else "")
    else:
        place.mkdir(parents=True, exist_ok=True)
