#!/usr/bin/env bash
# Fetches the libraries of CUDA 13 and cuDNN 9 with pip, by exact version and checksum, into a folder: FOLDER/nvidia/*/lib.
#
#   docker/steps/cuda-libraries.sh FOLDER
set -euo pipefail

folder=${1:?the folder to fill}
python3 -m pip --disable-pip-version-check install --quiet --no-cache-dir --no-deps --require-hashes --only-binary=:all: \
    --target "$folder" --requirement "$(dirname "$0")/cuda-libraries.txt"
# What only compilers read.
find "$folder/nvidia" -type d -name include -prune -exec rm -rf {} +
