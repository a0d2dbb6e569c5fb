#!/usr/bin/env bash
# Pin envs/common.in + envs/{cpu,gpu}.in, with hashes, into envs/{cpu,gpu}.txt, and what fits on top.
set -euo pipefail
cd "$(dirname "$0")"
tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
python3.11 -m venv "$tool"
"$tool/bin/pip" install --quiet uv==0.13.8
compile() {
    "$tool/bin/uv" pip compile --quiet --python-version 3.11 \
        --python-platform x86_64-manylinux_2_28 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --custom-compile-command "make lock" "$@"
}
# Where torch's CPU build is: the wheel house that pip is set up with, or PyTorch's own page.
wheels=${PIP_FIND_LINKS:-https://download.pytorch.org/whl/cpu/torch/}
compile --override overrides.txt --find-links "$wheels" common.in cpu.in -o cpu.txt
compile --override overrides.txt common.in gpu.in -o gpu.txt
compile --constraint cpu.txt kubernetes.in -o kubernetes.txt
compile --no-deps deepspeed.in -o deepspeed.txt
echo "pip==26.3" | compile - -o pip.txt
