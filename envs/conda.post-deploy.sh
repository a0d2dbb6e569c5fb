#!/usr/bin/env bash
# Snakemake runs this in the new environment. After a change of the lock: rm -r .snakemake/conda
set -euo pipefail
lock=cpu
[ -e /dev/nvidia0 ] && lock=gpu
bash "$SFTFLOW_HOME/envs/install.sh" "$CONDA_PREFIX/bin/python" "$SFTFLOW_HOME/envs/$lock.txt"
