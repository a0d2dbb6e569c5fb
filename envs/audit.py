"""Say what pip-audit found: `audit.py REPORT.json ...`, for envs/audit.sh.

pip-audit itself says "No known vulnerabilities found" of packages that it could not ask about.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def verdict(reports: list[Path]) -> tuple[int, list[str]]:
    """Return the exit status and the lines to show."""
    lines, unasked, asked = [], [], 0
    for report in reports:
        try:
            packages = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
        except (OSError, ValueError, KeyError, TypeError):
            return 2, [f"error: pip-audit left no report of {report.stem}.txt; see what it printed"]
        for package in packages:
            if "skip_reason" in package:
                unasked.append(package["name"])
                continue
            asked += 1
            for hole in package["vulns"]:
                fixed = ", ".join(hole["fix_versions"]) or "no version yet"
                pin = f"{package['name']}=={package['version']}"
                lines.append(f"{report.stem}.txt: {pin} has {hole['id']}, fixed in {fixed}")
    if unasked or not asked:
        named = ", ".join(unasked[:3]) or "none is listed"
        lines.append(
            f"error: {len(unasked)} of {len(unasked) + asked} packages could not be asked about "
            f"({named}); nothing is known of them"
        )
        return 2, lines
    return (1, lines) if lines else (0, [f"no known holes in {asked} packages"])


if __name__ == "__main__":
    status, said = verdict([Path(name) for name in sys.argv[1:]])
    sys.stdout.write("\n".join(said) + "\n")
    sys.exit(status)
