# Every target does its own set-up. The virtual environment is rebuilt when the dependencies change.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help run test fuzz histories bench check setup

help:
	@echo "make run     set up, start the server on the embedded store, load the sample images"
	@echo "make test    set up, run every test"
	@echo "make fuzz    set up, fetch test images of other projects, try COUNT=20000 mutations of them, of SEED=1"
	@echo "make bench   set up, install the peers (nginx, Varnish, wrk, IPX, Thumbor), measure, render benchmarks/README.md"
	@echo "make histories   record a minute of reads and writes for each way to break the store, and check them"
	@echo "make check   set up, check format, lint, types and layers"

setup: $(READY)

$(READY): pyproject.toml constraints.txt scripts/setup
	@PYTHON="$(PYTHON)" scripts/setup
	@touch $@

run: $(READY)
	@scripts/run

test: $(READY)
	@scripts/system-packages chromium redis-server openssl node:nodejs npm
	@scripts/npm-packages tests/clients
	@$(if $(ARGS),$(BIN)/pytest $(ARGS),scripts/test)

fuzz: COUNT ?= 20000
fuzz: SEED ?= 1
fuzz: $(READY)
	@LIGHTFAST_FUZZ_COUNT=$(COUNT) LIGHTFAST_FUZZ_SEED=$(SEED) \
		$(BIN)/pytest -q -s --no-header --timeout 0 tests/fuzz/long_run.py $(ARGS)

histories: $(READY)
	@scripts/system-packages redis-server
	@LIGHTFAST_FAULT_SECONDS=60 $(BIN)/pytest -s --timeout 300 tests/faults/test_histories.py $(ARGS)

bench: $(READY)
	@scripts/system-packages wrk nginx varnishd:varnish cc:gcc chromium node:nodejs npm || true
	@scripts/peers || true
	@$(BIN)/python -m benchmarks $(ARGS)

check: $(READY)
	@$(BIN)/ruff format --check --quiet . || { echo "make check: run '.venv/bin/ruff format' first"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
