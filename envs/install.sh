#!/usr/bin/env bash
# Install a lock file: install.sh PYTHON LOCK
set -euo pipefail
python=$1 lock=$2
install=("$python" -m pip install --quiet --no-compile --no-deps --require-hashes --requirement)
if grep -q '^torch==.*+cpu' "$lock"; then
    # torch's CPU build is not on PyPI. The mirror or wheel house that pip is set up with may have
    # it; otherwise it comes from PyTorch's own index. Its hash is in the lock either way.
    torch=$(mktemp --suffix .txt)
    sed -n '/^torch==/,/^ *# via/p' "$lock" >"$torch"
    "${install[@]}" "$torch" 2>/dev/null ||
        "${install[@]}" "$torch" --index-url https://download.pytorch.org/whl/cpu
    rm "$torch"
fi
"${install[@]}" "$lock"
# pip would compile on one core. What some packages ship for other Pythons does not compile.
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -m compileall -qq -j 0 "$packages" || true
