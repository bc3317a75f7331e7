#!/usr/bin/env bash
# What can be tried only where there is an NVIDIA GPU: that the server loads on it, that
# it computes what the CPU computes, how fast it is and what memory it takes.
#
#   scripts/cuda_check.sh      after `make build` and `scripts/setup.sh cuda`
#
# From the environment: RETRO_MODEL (a folder with a variant in float16), RETRO_ONNXRUNTIME,
# RETRO_CUDA_DEVICE (cuda, cuda:1, ...), RETRO (the binary). The numbers stay in target/cuda-check/.
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=${CARGO_TARGET_DIR:-target}
RETRO=${RETRO:-$TARGET/release/retro}
DEVICE=${RETRO_CUDA_DEVICE:-cuda}
export RETRO_ONNXRUNTIME=${RETRO_ONNXRUNTIME:-runtime/onnxruntime-cuda/libonnxruntime.so}
export RETRO_MODEL=${RETRO_MODEL:-models/retro-nano}
# A precision that is set would be asked for on both devices, which seldom have one in common.
unset RETRO_PRECISION RETRO_DEVICE

say() { printf 'cuda-check: %s\n' "$*"; }
refuse() { printf 'cuda-check: %s\n' "$*" >&2; exit 2; }

case $DEVICE in
    cuda) gpu=0 ;;
    cuda:*[!0-9]* | cuda:) refuse "RETRO_CUDA_DEVICE is $DEVICE; it is cuda or cuda:N" ;;
    cuda:*) gpu=${DEVICE#cuda:} ;;
    *) refuse "RETRO_CUDA_DEVICE is $DEVICE; it is cuda or cuda:N" ;;
esac

command -v nvidia-smi >/dev/null 2>&1 ||
    refuse "nvidia-smi is missing, so this machine has no NVIDIA driver: there is nothing to check here"
name=$(nvidia-smi --id="$gpu" --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>&1) ||
    refuse "nvidia-smi finds no GPU $gpu: $name"
[ -f "$RETRO_ONNXRUNTIME" ] ||
    refuse "$RETRO_ONNXRUNTIME is missing: run 'make cuda-setup'"
provider=$(dirname "$RETRO_ONNXRUNTIME")/libonnxruntime_providers_cuda.so
[ -f "$provider" ] ||
    refuse "$RETRO_ONNXRUNTIME is ONNX Runtime for the CPU: run 'make cuda-setup' and unset RETRO_ONNXRUNTIME"
missing=$(ldd "$provider" | sed -n 's/^[[:space:]]*\(.*\) => not found$/\1/p' | tr '\n' ' ')
[ -z "$missing" ] || refuse "the loader does not find ${missing% }: 'make cuda-setup' says how to install them and what LD_LIBRARY_PATH must hold"
[ -x "$RETRO" ] || refuse "$RETRO is missing: run 'make build'"
python3 - "$RETRO_MODEL/retro.json" <<'EOF' || exit 2
import json, sys

try:
    variants = json.load(open(sys.argv[1], encoding="utf-8"))["variants"]
except (OSError, ValueError, KeyError) as error:
    sys.exit(f"cuda-check: {sys.argv[1]}: {error}")
if not any(variant["data_type"] == "float16" for variant in variants.values()):
    sys.exit(
        f"cuda-check: {sys.argv[1]} has {', '.join(variants)}, and CUDA needs a variant in float16: write one with "
        "`python -m training.export --variants fp32,int8,fp16 --out FOLDER` and set RETRO_MODEL=FOLDER (docs/cuda.md)"
    )
EOF
say "GPU $gpu: $name"

out=$TARGET/cuda-check
mkdir -p "$out"
# A database of the user's would be searched, and may belong to another model.
data=$(mktemp -d "$out/data.XXXXXX")
sampler=""
stop_sampler() {
    [ -z "$sampler" ] || kill "$sampler" 2>/dev/null || true
    sampler=""
}
trap 'stop_sampler; rm -rf "$data"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export RETRO_DATA_DIR=$data

say "doctor"
"$RETRO" doctor --device "$DEVICE"

say "the CPU's logits on the GPU"
# A name that matches no test would pass.
RETRO_TEST_DEVICE=$DEVICE cargo test --release --locked --lib parity_cuda -- --nocapture | tee "$out/parity.txt"
grep -Eq 'test result: ok\. [1-9]' "$out/parity.txt" || {
    say "no test named parity_cuda ran" >&2
    exit 1
}

memory=(nvidia-smi --id="$gpu" --query-gpu=memory.used --format=csv,noheader,nounits)
before=$("${memory[@]}")
"${memory[@]}" --loop-ms=100 >"$out/memory.txt" &
sampler=$!
say "bench on $DEVICE"
"$RETRO" bench --device "$DEVICE" --source provided --json >"$out/cuda.jsonl"
stop_sampler
say "bench on the CPU"
"$RETRO" bench --device cpu --source provided --json >"$out/cpu.jsonl"

python3 - "$out" "$before" <<'EOF'
import json, statistics, sys
from pathlib import Path

out, before = Path(sys.argv[1]), int(sys.argv[2])
about, cases = {}, {}
for device in ("cuda", "cpu"):
    for line in (out / f"{device}.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "about" in entry:
            about[device] = entry["about"]
        else:
            key = tuple(entry[k] for k in ("batch", "prompt_tokens", "neighbours", "interval"))
            cases.setdefault(key, {})[device] = statistics.median(entry["tokens_per_second"])
for device, entry in about.items():
    print(f"{device}: {entry['provider']}, {entry['model']} as {entry['precision']}, {entry['threads']} threads")
if about["cuda"]["provider"] != "CUDAExecutionProvider":
    sys.exit("cuda-check: the bench meant for the GPU ran on " + about["cuda"]["provider"])
print(f"{'batch':>5} {'prompt':>6} {'neighbours':>10} {'interval':>8} {'cuda tokens/s':>14} {'cpu tokens/s':>13} {'cuda/cpu':>8}")
for key, speed in cases.items():
    cuda, cpu = speed["cuda"], speed["cpu"]
    print("{:5} {:6} {:10} {:8}".format(*key) + f" {cuda:14.0f} {cpu:13.0f} {cuda / cpu:8.2f}")
# The last line may be cut short by the end of the sampling.
used = [int(line) for line in (out / "memory.txt").read_text().splitlines()[:-1] if line.strip().isdigit()]
if used:
    print(f"memory of the GPU: {before} MiB in use before, {max(used)} MiB at most, so {max(used) - before} MiB for the server")
else:
    print("memory of the GPU: nvidia-smi gave no numbers")
EOF
say "passed; the numbers are in $out"
