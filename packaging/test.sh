#!/usr/bin/env bash
# Installs a built server into a folder of its own, as the images do, and runs it there as a user without rights on a root file system that
# cannot be written: what a container of docker/Dockerfile is, without an engine.
#
#   packaging/test.sh BINARY      after `scripts/setup.sh runtime`; BINARY is target/release/retro, for instance
#
# As root on Linux it is such a root, of this machine's own files under the installed ones, in a mount namespace that goes with it. Elsewhere
# the server runs as the user who runs this, in a tree without write bits.
set -euo pipefail

binary=$(realpath -- "${1:?the binary, like target/release/retro}")
cd "$(dirname "$0")/.."
uid=10001

if [ -z "${PACKAGING_WORK:-}" ]; then
    PACKAGING_WORK=$(mktemp -d)
    export PACKAGING_WORK
    # Behind the namespace, whose mounts went with it, so that nothing of this machine is under what is removed.
    trap 'chmod -R u+w "$PACKAGING_WORK" && rm -rf --one-file-system "$PACKAGING_WORK"' EXIT
    if [ "$(id -u)" = 0 ] && [ "$(uname -s)" = Linux ]; then
        PACKAGING_ROOT=1 unshare --mount --pid --fork --mount-proc "$0" "$binary"
    else
        "$0" "$binary"
    fi
    exit
fi

work=$PACKAGING_WORK
server=
trap '[ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true' EXIT
say() { printf 'packaging: %s\n' "$*"; }
die() {
    printf 'packaging: %s\n' "$*" >&2
    [ ! -s "$work/log" ] || tail -n 20 "$work/log" >&2
    exit 1
}

mkdir "$work/tree"
if [ -n "${PACKAGING_ROOT:-}" ]; then
    # Another file system than that of /, which an overlay would refuse to have twice.
    mount -t tmpfs -o mode=0755 packaging "$work/tree"
fi
tree=$work/tree/root
mkdir "$tree"
docker/steps/install.sh "$binary" "$tree"
# The same again, as an upgrade does it.
docker/steps/install.sh "$binary" "$tree"
leftovers=$(find "$tree" -name '.*')
[ -z "$leftovers" ] || die "the installation left $leftovers"
say "installed $(du -sh "$tree" | cut -f1)"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# What the Dockerfile sets, and nothing else of this machine's.
inside=(env -i RETRO_LISTEN="0.0.0.0:$port" ORT_DISABLE_TELEMETRY=1 LANG=C.UTF-8)
mkdir "$work/data"
# shellcheck disable=SC2016  # they are for the shell inside
if [ -n "${PACKAGING_ROOT:-}" ]; then
    mkdir "$work/merged" "$tree/data"
    chown "$uid:$uid" "$work/data"
    chmod 0700 "$work/data"
    mount -t overlay -o "lowerdir=$tree:/" overlay "$work/merged"
    mount --bind "$work/data" "$work/merged/data"
    mount -t tmpfs -o mode=1777,size=64m packaging "$work/merged/tmp"
    mount -t proc proc "$work/merged/proc"
    mount --bind /dev "$work/merged/dev"
    inside+=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin RETRO_DATA_DIR=/data
        chroot "$work/merged" setpriv --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all
        bash -c 'cd "$0" && exec "$@"' /opt/retro)
else
    chmod -R a-w "$tree"
    inside+=(PATH="$tree/usr/local/bin:$PATH" RETRO_DATA_DIR="$work/data"
        bash -c 'cd "$0" && exec "$@"' "$tree/opt/retro")
fi

expect_status() { # STATUS PATH [CURL OPTION...]
    local expected=$1 path=$2 status
    shift 2
    status=$(curl -s -o "$work/answer" -w '%{http_code}' --max-time 30 "$@" "http://127.0.0.1:$port$path") || die "$path: no answer"
    [ "$status" = "$expected" ] || die "$path is $status, not $expected: $(cat "$work/answer")"
}

"${inside[@]}" retro doctor >"$work/log" 2>&1 || die "retro doctor finds something wrong"
if "${inside[@]}" touch retro.toml 2>/dev/null; then die "the program's files can be written"; fi
if "${inside[@]}" ./ready.sh 2>/dev/null; then die "what does not run is called ready"; fi

if "${inside[@]}" retro serve >"$work/log" 2>&1; then die "it serves strangers without a key"; fi
grep -q 'there are no API keys' "$work/log" || die "it does not say why it does not start"
say "without a key it does not start"

"${inside[@]}" ./first-key.sh 2>"$work/log" || die "no first key is made"
[ -n "$(find "$work/data/first-key" -perm 600)" ] || die "others can read the first key"
key=$(cat "$work/data/first-key")
"${inside[@]}" ./first-key.sh || die "a second start fails"
[ "$key" = "$(cat "$work/data/first-key")" ] || die "a second key was made"

mkfifo "$work/out"
"${inside[@]}" retro serve >"$work/out" 2>"$work/log" &
server=$!
# It says that it listens when it is ready; where it ends instead, there is nothing to read.
exec 3<"$work/out"
read -r -t 120 -u 3 _ || die "it did not start"
"${inside[@]}" ./ready.sh || die "it is not ready"
expect_status 200 /livez
expect_status 200 /readyz
expect_status 401 /v1/info
expect_status 200 /v1/info -H "authorization: Bearer $key"
"${inside[@]}" retro ingest samples/honey-bee.md >>"$work/log" 2>&1 || die "a file does not go in"
expect_status 200 /v1/complete -H "authorization: Bearer $key" -H 'content-type: application/json' \
    -d '{"prompt": "The honey bee", "max_tokens": 8}'
grep -q '"document_id":"honey-bee.md"' "$work/answer" || die "the completion has no neighbours: $(cat "$work/answer")"
say "served a completion with neighbours as user $(ps -o uid= -p "$server" | tr -d ' ')"

foreign=$(find "$work/data" "$work/merged/tmp" \( -name deviceid -o -name 'onnxruntime.db*' \) 2>/dev/null || true)
[ -z "$foreign" ] || die "ONNX Runtime's telemetry wrote $foreign"

kill -TERM "$server"
status=0
wait "$server" || status=$?
server=
[ "$status" = 0 ] || die "it ended with $status"
grep -q 'stopped' "$work/log" || die "it was not stopped in order"
say "passed"
