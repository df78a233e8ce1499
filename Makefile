# One machine, no services needed: `make run` starts Parley with its demo, `make test` runs the tests.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# the first interpreter that is new enough; PYTHON=/path/to/python3 overrides
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(if $(shell $(p) -c 'import sys; print(sys.version_info[:2] >= (3, 11) or "")' 2>/dev/null | grep True),$(p))))
TORCH := torch==2.13.0
ARGS ?=

RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
AGREEMENT := $(VENV)/.sentence-transformers-installed

.PHONY: help setup dev run test check format docs bench bench-webhooks chaos chaos-webhooks hostile-webhooks outage lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 26

setup: $(RUNTIME) ## make .venv and install what running needs
dev: $(DEV) ## … and what testing and checking need

run: setup ## start everything on this machine, with the demo (stop: Ctrl-C)
	@exec $(BIN)/parley up --demo $(ARGS)

test: $(DEV) $(AGREEMENT) ## run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(DEV) ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(RUNTIME) ## write the tables of settings, commands and events into the documents
	@$(BIN)/python docs/tables.py

bench: $(DEV) ## measure (ARGS="--help" lists what)
	@$(BIN)/python -m bench $(ARGS)

outage: $(DEV) ## let both gateways be away for a minute and count who was answered
	@$(BIN)/python -m bench.outage $(ARGS)

chaos: $(DEV) ## kill things under load, on every channel, and count what was lost
	@$(BIN)/python -m bench.chaos $(ARGS)

bench-webhooks: $(DEV) ## measure the webhook sender beside other ways to send
	@$(BIN)/python -m bench.webhooks $(ARGS)

chaos-webhooks: $(DEV) ## kill the webhook sender under load and count what was lost
	@$(BIN)/python -m bench.webhooks.chaos $(ARGS)

hostile-webhooks: $(DEV) ## send to receivers that mean harm, and see what it costs
	@$(BIN)/python -m bench.webhooks.hostile $(ARGS)

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Parley needs Python 3.11 or newer; python3 here is $$(python3 --version 2>&1 || true)." >&2; \
		echo "Install one and try again, or name it: make PYTHON=/path/to/python3.11 …" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Parley needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; exit 1; }
	@echo "==> Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Python's venv module is missing (on Debian: apt-get install python3-venv)." >&2; exit 1; }

$(RUNTIME): requirements/runtime.lock pyproject.toml | $(BIN)/python
	@echo "==> Installing the locked dependencies (about a minute, only when they change)"
	@$(PIP) install --progress-bar on --no-deps --require-hashes -r requirements/runtime.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/dev.lock $(RUNTIME)
	@echo "==> Installing the tools for tests and checks"
	@$(PIP) install --progress-bar on --no-deps --require-hashes -r requirements/dev.lock
	@touch $@

# torch's wheel differs from platform to platform, so it is pinned by version and not by hash
$(AGREEMENT): requirements/sentence-transformers.lock $(DEV)
	@echo "==> Installing sentence-transformers, with which a test compares the built-in embeddings (some minutes)"
	@$(PIP) install --progress-bar on --no-deps --require-hashes -r requirements/sentence-transformers.lock
	@$(PIP) install --progress-bar on --no-deps $(TORCH)
	@$(BIN)/python -c 'import torch' 2>/dev/null || $(PIP) install --progress-bar on $(TORCH)
	@touch $@

# Needs uv. NEWEST keeps packages out that are too young to have been looked at by others.
NEWEST ?= $(shell date -u -d '14 days ago' +%Y-%m-%d 2>/dev/null || date -u -v-14d +%Y-%m-%d)
COMPILE = uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --exclude-newer $(NEWEST)
lock: ## resolve the requirements anew (needs uv; NEWEST=YYYY-MM-DD)
	$(COMPILE) --override requirements/overrides.txt requirements/runtime.in -o requirements/runtime.lock
	$(COMPILE) --constraint requirements/runtime.lock requirements/dev.in -o requirements/dev.lock
	# without torch, which has no hash here and on Linux asks for CUDA; but with what it imports
	printf '%s\n' 'sentence-transformers>=5' sympy networkx jinja2 fsspec filelock | $(COMPILE) \
		--constraint requirements/runtime.lock --override <(echo "torch ; python_version < '3'") \
		- -o requirements/sentence-transformers.lock

clean: ## remove .venv and what tools left behind; data directories stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
