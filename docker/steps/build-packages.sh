#!/usr/bin/env bash
# As root, on Debian with Rust: what building takes. scripts/setup.sh would install most of it too; here it is a layer that only this file changes.
set -euo pipefail

apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    build-essential libprotobuf-dev make protobuf-compiler python3 python3-pip
rm -rf /var/lib/apt/lists/*
