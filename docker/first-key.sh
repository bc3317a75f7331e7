#!/usr/bin/env bash
# Makes a key with the scope `admin` if the server has none, so that it can start where other machines reach it, and leaves the key in a
# file in the data folder that only the server's user reads. Take it from there, and remove the file.
set -euo pipefail

file=${RETRO_DATA_DIR:?the data folder}/first-key
keys=$(retro keys list --json)
case $keys in *'"id"'*) exit 0 ;; esac
umask 077
# One that cannot be kept, since the disk is full for instance, must not be made: the server would be closed with nobody in.
: >"$file"
retro keys create first --scope admin >"$file"
echo "first-key: the first key, with the scope admin, is in $file" >&2
