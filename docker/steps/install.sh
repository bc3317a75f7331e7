#!/usr/bin/env bash
# Puts a server that is built and set up in its place: the binary, ONNX Runtime, the BERT, the bundled model, the samples.
#
#   docker/steps/install.sh BINARY [ROOT]     ROOT is / if left out
#
# The images, the systemd unit and the test of both (packaging/test.sh) use it. Needs `scripts/setup.sh runtime` before. Running it
# again replaces what is there; data, which lies elsewhere, is not touched.
set -euo pipefail

binary=$(realpath -- "${1:?the binary, like target/release/retro}")
root=${2:-/}
cd "$(dirname "$0")/../.."
[ -x "$binary" ] || { echo "install: $binary is no program" >&2; exit 1; }
for needed in runtime/onnxruntime runtime/all-MiniLM-L6-v2/embedder.json models/retro-nano/retro.json; do
    [ -e "$needed" ] || { echo "install: $needed is missing: run scripts/setup.sh runtime" >&2; exit 1; }
done

umask 022
place=${root%/}/opt/retro
install -d "${root%/}/usr/local/bin" "$place"
# In a new place first: a program that runs cannot be written over.
install -m 0755 "$binary" "${root%/}/usr/local/bin/.retro.new"
mv -f "${root%/}/usr/local/bin/.retro.new" "${root%/}/usr/local/bin/retro"

new=$(mktemp -d "$place/.new.XXXXXX")
trap 'rm -rf "$new"' EXIT
cp -R models samples LICENSE "$new/"
install -d "$new/runtime"
for part in runtime/*; do
    # A set-up that runs or was killed has a hidden folder, which the pattern leaves out.
    cp -R "$part" "$new/runtime/"
done
install -m 0755 docker/ready.sh docker/first-key.sh "$new/"
# Whatever the modes were where it was built, everyone reads it and only root writes.
chmod -R u=rwX,go=rX "$new"
for part in "$new"/*; do
    rm -rf "${place:?}/$(basename "$part")"
    mv "$part" "$place/"
done
