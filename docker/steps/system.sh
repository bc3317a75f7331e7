#!/usr/bin/env bash
# As root, on Debian: what the finished binary needs of the system, and the folder of the data, which belongs to the server's user.
#
#   docker/steps/system.sh UID
set -euo pipefail

uid=${1:?the number of the user that the server runs as}
apt-get update -qq
# libstdc++6 is what the ONNX Runtime library is linked against.
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates libgcc-s1 libstdc++6
rm -rf /var/lib/apt/lists/*
install -d -m 0700 -o "$uid" -g "$uid" /data
