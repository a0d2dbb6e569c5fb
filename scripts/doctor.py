"""Say what will work on this machine or cluster: `python scripts/doctor.py [--configfile F]`.

Looks at the environment, the machine, Slurm where there is one and, with a config, at what that
asks for; changes nothing. Exit status 1 if something will not work.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from sftflow.clusterchecks import cluster_findings
from sftflow.configchecks import config_findings, launches
from sftflow.findings import Finding, lines, ok, warning, will_work
from sftflow.machinechecks import machine_findings
from sftflow.packagechecks import package_findings

HOME = Path(__file__).resolve().parents[1]


def browser() -> Finding:
    """Say whether the tests find what they open pages in."""
    if shutil.which("chromium"):
        return ok("Chromium", "for the tests")
    return warning("Chromium", "not here; only tests need it", "run `make system` to install it")


def findings(arguments: argparse.Namespace) -> list[Finding]:
    """Return all that was found, what matters to everybody first."""
    found = [*package_findings(HOME, arguments.quick), *machine_findings(arguments.directory)]
    found += cluster_findings(launches(arguments.configfile))
    if arguments.configfile:
        files, folder = arguments.configfile, arguments.directory
        found += config_findings(files, folder, on_cluster=shutil.which("sbatch") is not None)
    return [*found, browser()]


def main(argv: list[str] | None = None) -> None:
    """Look, tell, and end with the status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configfile", type=Path, nargs="+", default=[HOME / "config/config.yaml"])
    parser.add_argument("--directory", type=Path, default=Path(), help="where results/ is to be")
    parser.add_argument("--quick", action="store_true", help="import no packages (spares 20 s)")
    parser.add_argument("--json", action="store_true", help="a list of objects, for programs")
    arguments = parser.parse_args(argv)
    found = findings(arguments)
    if arguments.json:
        text = json.dumps([asdict(finding) for finding in found], indent=1)
    else:
        text = "\n".join(lines(found))
    sys.stdout.write(text + "\n")
    sys.exit(0 if will_work(found) else 1)


if __name__ == "__main__":
    main()
