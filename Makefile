# The whole developer interface. Each target does its own set-up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test bench check gpu-check attack twins lint install dist wheel newcomer libtorch encoder browser tools clean

PREFIX ?= /usr/local

# Real data, if it is beside the checkout.
ifndef ASSAY_DATA
ifneq ($(wildcard ../shared/data),)
test bench check gpu-check: export ASSAY_DATA := $(abspath ../shared/data)
endif
endif

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: libtorch ## Build, and run the quickstart experiment on the sample data
	cargo build --release --locked
	./target/release/assay run experiments/quickstart.yaml

# Tests of runs that are killed, locked or asked to wait leave the processors idle.
test: export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))
test: libtorch encoder ## Run all tests; those on real data if ASSAY_DATA contains it
	cargo test --release --locked

bench: libtorch ## Compare speed with other tools
	cargo build --release --locked --benches
	python3 tools/bench.py

check: libtorch ## Compare metrics with ranx and ir-measures on real rankings
	cargo build --release --locked
	python3 tools/check_metrics.py

gpu-check: libtorch encoder ## Check networks and the encoder on a GPU; without one, as far as possible (exit code 3)
	cargo build --release --locked
	python3 tools/gpu_check.py

attack: libtorch encoder ## Change files that assay reads, 300 times with a fixed seed; no wrong result, no panic
	cargo build --release --locked
	python3 tools/attack.py 300 1

twins: libtorch encoder ## Audit clean twins of every check; fails on a false alarm, or if the table of docs/AUDIT.md is another one
	cargo build --release --locked
	python3 tools/audit_twins.py

lint: libtorch ## Check format, features and run clippy
	cargo fmt --check
	python3 tools/one_build.py
	cargo clippy --release --locked --all-targets -- -D warnings

install: libtorch ## Install into PREFIX (default /usr/local): programs, and libraries in lib/assay
	cargo build --release --locked
	python3 tools/dist.py install "$(DESTDIR)$(PREFIX)"

dist: libtorch ## Make an archive that runs without a checkout: target/dist/assay-*.tar.gz
	cargo build --release --locked
	python3 tools/dist.py archive

wheel: libtorch ## Make a Python wheel with the programs: target/wheels/rec_assay-*.whl
	python3 tools/dist.py wheel

newcomer: libtorch ## Do what a newcomer does, with the installed program, in an empty directory
	cargo build --release --locked
	tools/newcomer.sh

libtorch: tools ## Provide PyTorch's C++ libraries in .libtorch
	@python3 tools/libtorch.py

encoder: libtorch ## Fetch the weights of the text encoder into datasets/
	cargo build --release --locked
	@ASSAY_DATA=datasets ./target/release/assay data verify all-minilm-l6-v2 >/dev/null 2>&1 \
		|| ASSAY_DATA=datasets ./target/release/assay data fetch all-minilm-l6-v2

browser: ## Install chromium and chromedriver, which tests of the report's page drive, where apt-get can
	@if command -v chromedriver >/dev/null && { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null; \
		then true; \
		elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; \
		then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver; \
		else echo "chromium or chromedriver is missing: install them with the package manager of this system"; exit 1; fi

tools:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust from https://rustup.rs"; exit 1; }
	@command -v c++ >/dev/null || { echo "a C++ compiler is missing: install g++ or clang"; exit 1; }
	@command -v python3 >/dev/null || { echo "python3 is missing: install it, with pip"; exit 1; }

clean: ## Remove what was built (not .libtorch, not results)
	cargo clean
