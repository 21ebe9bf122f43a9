# Needs Python 3.11 or newer, make and git. Everything else is installed into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# Certificates of the system: needed where a proxy signs again, harmless elsewhere.
export UV_SYSTEM_CERTS := 1
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport PYTHONPATH

.PHONY: help demo up test check format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.stamp ## Send the sample videos through the whole service and show the answers
	@$(BIN)/styleflow demo

up: $(VENV)/.stamp ## Run the whole service on this machine until Ctrl-C
	@exec $(BIN)/styleflow up

# A file's tests stay together, so that what a module sets up is set up once. Each process has servers of its own.
test: check ## All checks and all tests
	@$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

check: $(VENV)/.stamp ## The checks alone: style, types, import contracts
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.stamp ## Put the code into its form
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

include recipes/compact.mk

clean: ## Remove the environment and all caches; data in .styleflow stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# One environment for all: next to torch, the tools of the tests are a few seconds.
$(VENV)/.stamp: pyproject.toml constraints.txt | $(BIN)/uv
	@echo "installing into $(VENV) (a few minutes when nothing is cached)"
	@$(BIN)/uv pip install --quiet -c constraints.txt -e '.[service,detector,embedded,lab,dev]'
	@touch $@

$(BIN)/uv: | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(BIN)/python:
	@python=; for candidate in python3.11 python3 python3.12 python3.13; do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	[ -n "$$python" ] || { echo "Python 3.11 or newer is needed" >&2; exit 1; }; \
	$$python -m venv $(VENV)
