# `make` lists the targets. Written for GNU make 3.81 and later (macOS has 3.81).

TARGET := $(or $(CARGO_TARGET_DIR),target)
RETRO := $(TARGET)/release/retro
# The Python for training and parity: one with the packages of training/requirements.txt.
TRAIN_PYTHON ?= $(firstword $(wildcard .venv/bin/python $(HOME)/.cache/retro-server/train-venv/bin/python) python3)
# The Python for the benchmarks: one with the packages of benches/requirements.txt, whose first lines say how to make it.
BENCH_PYTHON ?= $(firstword $(wildcard $(HOME)/.cache/retro-server/bench-venv/bin/python) python3)
# The Python that looks the packaging through: one with the packages of packaging/requirements.txt.
PACKAGE_PYTHON ?= $(firstword $(wildcard $(HOME)/.cache/retro-server/packaging-venv/bin/python) python3)
PARITY_CASES ?= training/work/parity.safetensors
ORACLE_CASES ?= training/work/oracle
# What the tests saw of the API's description.
SEEN := $(abspath $(TARGET))/seen

# ONNX Runtime would send reports to its maker (docs/security.md).
export ORT_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help setup build serve test schemathesis faults lint openapi eval parity oracle bench bench-database cuda-setup cuda-check
# The steps share one cargo lock and one runtime/.
.NOTPARALLEL:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile

setup: ## install what is missing: protoc, ONNX Runtime, the BERT weights
	@scripts/setup.sh

build: setup ## build the server in release mode
	cargo build --release --locked

serve: build ## set up, build and serve on 127.0.0.1:8080; ARGS="--listen 127.0.0.1:0" adds flags
	@exec $(RETRO) serve $(ARGS)

# Rust comes last, so that its closing lines end the output: all tests, and then the one that looks whether they saw all that the description has.
test: build ## set up and run every test
	@if ! $(TRAIN_PYTHON) -c 'import torch' 2>/dev/null; then \
		echo 'test: skipping the tests of training/: $(TRAIN_PYTHON) has no torch (TRAIN_PYTHON=... names another)'; \
	elif $(TRAIN_PYTHON) -c 'import pytest' 2>/dev/null; then \
		echo 'test: training/, by pytest' && $(TRAIN_PYTHON) -m pytest -q training/tests benches/tests; \
	else \
		echo 'test: training/, by unittest' && $(TRAIN_PYTHON) -m unittest discover -t . -s training/tests; \
	fi
	@python3 tests/outside/run.py --retro '$(RETRO)'
	@python3 tests/faults/run.py --retro '$(RETRO)'
	@rm -rf '$(SEEN)' && mkdir -p '$(SEEN)'
	RETRO_SEEN='$(SEEN)' cargo test --release --locked
	RETRO_SEEN='$(SEEN)' cargo test --release --locked --test blackbox -- --ignored --exact contract::everything_in_the_description_was_seen

.PHONY: test-cluster
test-cluster: build ## three servers on PostgreSQL and an S3 server, one killed and one cut off meanwhile: about five minutes
	@python3 tests/cluster/run.py --retro '$(RETRO)'

schemathesis: build ## try the API with EXAMPLES=200 requests an operation, made from its description
	@python3 tests/outside/run.py --retro '$(RETRO)' --examples $(or $(EXAMPLES),200) schemathesis

faults: build ## kill, starve and damage the server, KILLS=1000 times and in each single way; ARGS="--seed 7" makes the same choices again
	@python3 tests/faults/run.py --retro '$(RETRO)' --kills $(or $(KILLS),1000) $(ARGS)

# `cargo clippy` checks, and a check compiles every dependency a second time, for nothing
# that a build could use. So clippy is put in rustc's place for this crate alone and runs
# in the release build, whose dependencies the tests and the server share. The wrapper is
# part of cargo's fingerprint, and clippy-driver has its arguments tracked: the crate is
# linted again when it changed, and a failed lint is never taken for a finished build.
lint: setup ## formatting and clippy, warnings are errors
	@cargo fmt --version >/dev/null 2>&1 && clippy-driver --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	cargo fmt --check
	RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS='-Dwarnings__CLIPPY_HACKERY__' \
		cargo build --release --all-targets --locked

openapi: build ## write openapi/openapi.json
	@mkdir -p openapi
	$(RETRO) openapi > openapi/openapi.json.new
	@mv openapi/openapi.json.new openapi/openapi.json

eval: build ## perplexity with and without retrieval: make eval FILE=texts.jsonl
	@test -n '$(FILE)' || { echo 'eval: name the texts: make eval FILE=texts.jsonl'; exit 2; }
	@$(RETRO) eval '$(FILE)' $(ARGS)

parity: setup ## compare the engine with the PyTorch model, logit by logit (needs torch): PARITY_ARGS="--seed 7"
	$(TRAIN_PYTHON) -m training.parity --full --out $(PARITY_CASES) $(PARITY_ARGS)
	RETRO_PARITY_CASES='$(abspath $(PARITY_CASES))' cargo test --release --locked --lib parity_with_pytorch -- --nocapture

bench: build ## measure the server and its peers, write docs/performance.md: make bench ARGS="--quick" is a short try
	@$(BENCH_PYTHON) -c 'import matplotlib, numpy, onnx, onnxruntime, tokenizers' 2>/dev/null || { \
		echo 'bench: $(BENCH_PYTHON) lacks packages of benches/requirements.txt, which says how to install them (BENCH_PYTHON=... names another)'; exit 2; }
	@$(BENCH_PYTHON) -m benches --retro '$(RETRO)' $(ARGS)

bench-database: build ## measure the database, write docs/database.md: make bench-database CORPUS=folder ARGS="--quick"
	@test -n '$(CORPUS)' || { echo 'bench-database: name the folder of texts: make bench-database CORPUS=folder'; exit 2; }
	@$(BENCH_PYTHON) -c 'import matplotlib, numpy, pyarrow, tokenizers' 2>/dev/null || { \
		echo 'bench-database: $(BENCH_PYTHON) lacks packages of benches/requirements.txt, which says how to install them (BENCH_PYTHON=... names another)'; exit 2; }
	@$(BENCH_PYTHON) -m benches.database --retro '$(RETRO)' --corpus '$(CORPUS)' $(ARGS)

.PHONY: load
load: build ## offer the server twice what it can take, write docs/operations.md: make load MINUTES=30
	@python3 -m benches.load --retro '$(RETRO)' --minutes $(or $(MINUTES),30) $(ARGS)

oracle: setup ## compare the engine with retro-pytorch, logit by logit, in several shapes (needs torch): ORACLE_ARGS="--seed 7"
	$(TRAIN_PYTHON) -m training.oracle --out $(ORACLE_CASES) $(ORACLE_ARGS)
	RETRO_ORACLE='$(abspath $(ORACLE_CASES))' cargo test --release --locked --lib parity_with_retro_pytorch -- --nocapture

cuda-setup: setup ## install ONNX Runtime's build for CUDA (Linux on x86-64)
	@scripts/setup.sh cuda

cuda-check: build ## where there is an NVIDIA GPU: doctor, parity, speed and memory on it
	@scripts/cuda_check.sh

.PHONY: fuzz audit
fuzz: setup ## the parsers on random bytes: make fuzz SECONDS=300 (for each) TARGETS="html pdf"
	@python3 scripts/fuzz.py --seconds $(or $(SECONDS),300) $(TARGETS)

audit: ## licences, sources and known weaknesses of the crates; ADVISORIES=required fails where none can be looked up
	@ADVISORIES='$(ADVISORIES)' scripts/check_crates.sh

.PHONY: package-check package-test
package-check: ## look the images, the systemd unit and the manifests through (packages: packaging/requirements.txt)
	@$(PACKAGE_PYTHON) -c 'import kubernetes_validate, yaml' 2>/dev/null || { \
		echo 'package-check: $(PACKAGE_PYTHON) lacks packages of packaging/requirements.txt, which says how to install them (PACKAGE_PYTHON=... names another)'; exit 2; }
	@$(PACKAGE_PYTHON) packaging/check.py

package-test: build ## install the server into a folder and run it there as a container would
	@packaging/test.sh '$(RETRO)'
