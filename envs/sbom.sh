#!/usr/bin/env bash
# Write a software bill of materials (CycloneDX 1.6, JSON) of each lock: sbom.sh FOLDER
# The same lock gives the same bytes.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"
source ./tool.sh
fetch_tool sbom cyclonedx-bom==7.5.0
for lock in cpu gpu kubernetes deepspeed; do
    "$tool/bin/cyclonedx-py" requirements "$lock.txt" --output-reproducible --spec-version 1.6 \
        --output-format JSON --output-file "$folder/$lock.cdx.json"
    echo "$folder/$lock.cdx.json: $(grep -c '"bom-ref": "requirements-' "$folder/$lock.cdx.json") packages"
done
