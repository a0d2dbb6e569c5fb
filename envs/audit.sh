#!/usr/bin/env bash
# Ask PyPI's advisories about the packages of both locks, as they are pinned.
# Status 0: no known holes; 1: some; 2: not all could be asked about.
set -euo pipefail
cd "$(dirname "$0")"
source ./tool.sh
fetch_tool audit pip-audit==2.10.1
# Advisories know no builds: 2.9.0+cpu is 2.9.0 to them.
sed -E 's/^([A-Za-z0-9_.-]+==[0-9][^ +]*)\+[a-z0-9.]+/\1/' cpu.txt >"$tool/cpu.txt"
for lock in "$tool/cpu.txt" gpu.txt; do
    # Hashed requirements need no resolution, so nothing of them is installed or built.
    "$tool/bin/pip-audit" --requirement "$lock" --require-hashes --disable-pip --progress-spinner off \
        --format json --output "$tool/$(basename "$lock" .txt).json" 2>>"$tool/said" || true
done
"$tool/bin/python" audit.py "$tool/cpu.json" "$tool/gpu.json"
